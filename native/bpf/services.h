/*
 * What the programs of all hooks know of Services: layouts and maps. Addresses of both families are 16 bytes, IPv4 as ::ffff:a.b.c.d; ports are in
 * network order. SocketEntries.cs and TrafficEntries.cs have the same layouts; who fills the maps keeps to this order: members and slots of a pool before
 * the frontends that lead there, and the other way round when they go.
 */
#pragma once

#include "kernel.h"

#define PROTOCOL_TCP 6
#define PROTOCOL_UDP 17

/* An address, a port, and where it is a key: the protocol. */
struct endpoint {
	__u32 address[4];
	__u16 port;
	__u16 protocol;
};

/* Where a service port is reached; count 0 refuses. */
struct frontend {
	__u64 service, pool;
	__u32 count, affinity_seconds;
};

struct slot_key {
	__u64 pool;
	__u32 slot, zero;
};

struct member_key {
	__u64 pool;
	struct endpoint backend;
	__u32 zero;
};

struct affinity {
	struct endpoint backend;
	__u32 zero;
	__u64 used_ns;
};

/* {address . port . protocol}. A port of the node's own addresses is there with an address that nobody has: of IPv4 all zeros, of IPv6 all ones. */
struct map frontends SECTION("maps") = { BPF_MAP_TYPE_HASH, sizeof(struct endpoint), sizeof(struct frontend), 131072, BPF_F_NO_PREALLOC };
struct map slots SECTION("maps") = { BPF_MAP_TYPE_HASH, sizeof(struct slot_key), sizeof(struct endpoint), 262144, BPF_F_NO_PREALLOC };
/* Endpoints of the pools that somebody may have to stay in, those of UDP and those with affinity: usable, or lingering. */
enum { USABLE = 1, LINGERING };
struct map members SECTION("maps") = { BPF_MAP_TYPE_HASH, sizeof(struct member_key), sizeof(__u8), 131072, BPF_F_NO_PREALLOC };
struct map node_addresses SECTION("maps") = { BPF_MAP_TYPE_HASH, 16, sizeof(__u8), 1024, BPF_F_NO_PREALLOC };

/* What happened since the maps were made, by number; ProgramCounts.cs reads them. */
enum count { PEERS_FULL, FLOWS_BEGUN, FLOWS_FORGOTTEN, FLOWS_FULL, AFFINITIES_FULL, SOURCES_REFUSED, COUNTS = 8 };
struct map counts SECTION("maps") = { BPF_MAP_TYPE_ARRAY, sizeof(__u32), sizeof(__u64), COUNTS, 0 };

INLINE struct endpoint port_of_node(int is_ipv6, __u16 port, __u16 protocol)
{
	__u32 part = is_ipv6 ? 0xffffffff : 0;
	struct endpoint any = { .address = { part, part, part, part }, .port = port, .protocol = protocol };

	return any;
}

INLINE void count(__u32 what)
{
	__u64 *number = bpf_map_lookup_elem(&counts, &what);

	if (number)
		__sync_fetch_and_add(number, 1);
}

/* An endpoint that lingers keeps its flows and gets no new ones. */
INLINE int is_member(__u64 pool, const struct endpoint *backend, int lingers)
{
	struct member_key key = { .pool = pool, .backend = *backend };
	__u8 *state = bpf_map_lookup_elem(&members, &key);

	return state && (*state == USABLE || lingers);
}

/* A pool that has just shrunk may lack the slot that its old count led to; it never lacks the first. */
INLINE int take(__u64 pool, __u32 slot, struct endpoint *backend)
{
	struct slot_key key = { .pool = pool, .slot = slot };
	struct endpoint *found = bpf_map_lookup_elem(&slots, &key);

	if (!found) {
		key.slot = 0;
		found = bpf_map_lookup_elem(&slots, &key);
	}
	if (!found)
		return 0;
	*backend = *found;
	return 1;
}
