/*
 * Services at the socket: what a process asks to connect or send to is exchanged for an endpoint before any packet exists, and exchanged back
 * where the process looks at its peer. No packet is ever rewritten, so a connection costs its first moment and nothing later.
 */
#include "services.h"

#define ECONNREFUSED 111

enum { ASKED, ANSWERED };

struct affinity_key {
	__u64 service, client;
};

struct flow_key {
	__u64 socket;
	struct endpoint at;
	__u32 direction;
};

/* Of a socket that connected: whom it asked for and whom it got. The node looks here for those whose endpoint is gone. */
struct peer {
	struct endpoint service, backend;
};

/* Network namespaces of this node, when the machine has several nodes. */
struct map namespaces SECTION("maps") = { BPF_MAP_TYPE_HASH, sizeof(__u64), sizeof(__u8), 65536, BPF_F_NO_PREALLOC };
struct map affinities SECTION("maps") = { BPF_MAP_TYPE_LRU_HASH, sizeof(struct affinity_key), sizeof(struct affinity), 16384, 0 };
struct map flows SECTION("maps") = { BPF_MAP_TYPE_LRU_HASH, sizeof(struct flow_key), sizeof(struct endpoint), 16384, 0 };
/*
 * By the socket's cookie; gone with the socket. (Storage of the socket's own would be the obvious place, but making it takes 1.2 us, a twentieth of a
 * connect(); an entry here takes a tenth of that.) When it is full, further sockets see their endpoint as their peer.
 */
struct map peers SECTION("maps") = { BPF_MAP_TYPE_HASH, sizeof(__u64), sizeof(struct peer), 65536, BPF_F_NO_PREALLOC };

/* Written by the loader before the kernel looks at the programs: what a setting leaves out is not even there. */
struct settings {
	__u64 host_namespace;
	__u32 is_scoped, has_error_codes, has_localhost_ports, zero;
};
static const volatile struct settings settings SECTION(".rodata") = {};

enum outcome { PASS, REFUSE, TRANSLATE };

INLINE int is_same(const struct endpoint *a, const struct endpoint *b)
{
	return a->address[3] == b->address[3] && a->address[2] == b->address[2] && a->address[1] == b->address[1] && a->address[0] == b->address[0]
		&& a->port == b->port;
}

INLINE int is_ours(void *ctx)
{
	__u64 cookie;

	if (!settings.is_scoped)
		return 1;
	cookie = bpf_get_netns_cookie(ctx);
	return bpf_map_lookup_elem(&namespaces, &cookie) != 0;
}

/* 127.0.0.0/8 is the node's own only where the node lives: a pod's loopback is the pod's. */
INLINE int is_of_node(void *ctx, const struct endpoint *destination)
{
	if (destination->address[0] == 0 && destination->address[1] == 0 && destination->address[2] == NETWORK32(0xffff)
		&& (destination->address[3] & NETWORK32(0xff000000)) == NETWORK32(0x7f000000))
		return settings.has_localhost_ports && bpf_get_netns_cookie(ctx) == settings.host_namespace;
	return bpf_map_lookup_elem(&node_addresses, destination->address) != 0;
}

INLINE struct frontend *find(void *ctx, const struct endpoint *destination)
{
	int is_ipv4 = destination->address[0] == 0 && destination->address[1] == 0 && destination->address[2] == NETWORK32(0xffff);
	struct endpoint any = port_of_node(!is_ipv4, destination->port, destination->protocol);
	struct frontend *found = bpf_map_lookup_elem(&frontends, destination);

	if (found)
		return found;
	found = bpf_map_lookup_elem(&frontends, &any);
	return found && is_of_node(ctx, destination) ? found : 0;
}

INLINE int pick(const struct frontend *front, struct endpoint *backend)
{
	return front->count && take(front->pool, bpf_get_prandom_u32() % front->count, backend);
}

/* A client is a network namespace: a pod, or the node. */
INLINE int pick_for_client(void *ctx, const struct frontend *front, struct endpoint *backend)
{
	struct affinity_key key = { .service = front->service, .client = bpf_get_netns_cookie(ctx) };
	struct affinity *known = bpf_map_lookup_elem(&affinities, &key), fresh = {};
	__u64 now = bpf_ktime_get_ns();

	if (known && now - known->used_ns < front->affinity_seconds * 1000000000ull) {
		*backend = known->backend;
		if (is_member(front->pool, backend, 0)) {
			known->used_ns = now;
			return 1;
		}
	}
	if (!pick(front, backend))
		return 0;
	fresh.backend = *backend;
	fresh.used_ns = now;
	if (bpf_map_update_elem(&affinities, &key, &fresh, BPF_ANY))
		count(AFFINITIES_FULL);
	return 1;
}

INLINE void remember(__u64 socket, const struct endpoint *at, __u32 direction, const struct endpoint *means)
{
	struct flow_key key = { .socket = socket, .at = *at, .direction = direction };
	struct endpoint *known = bpf_map_lookup_elem(&flows, &key);

	if (!known || !is_same(known, means))
		bpf_map_update_elem(&flows, &key, means, BPF_ANY);
}

INLINE enum outcome connecting(struct bpf_sock_addr *ctx, const struct endpoint *destination, struct endpoint *backend)
{
	struct frontend *front = is_ours(ctx) ? find(ctx, destination) : 0;
	struct peer peer;
	__u64 cookie;

	if (!front) {
		/* A UDP socket may connect again, elsewhere. */
		if (destination->protocol == PROTOCOL_UDP) {
			cookie = bpf_get_socket_cookie(ctx);
			bpf_map_delete_elem(&peers, &cookie);
		}
		return PASS;
	}
	if (!(front->affinity_seconds ? pick_for_client(ctx, front, backend) : pick(front, backend)))
		return REFUSE;
	peer.service = *destination;
	peer.backend = *backend;
	cookie = bpf_get_socket_cookie(ctx);
	if (bpf_map_update_elem(&peers, &cookie, &peer, BPF_ANY))
		count(PEERS_FULL);
	return TRANSLATE;
}

/* Datagrams of one socket to one service stay with one endpoint while that is there. */
INLINE enum outcome sending(struct bpf_sock_addr *ctx, const struct endpoint *destination, struct endpoint *backend)
{
	struct flow_key key = { .at = *destination, .direction = ASKED };
	struct endpoint *known;
	struct frontend *front = is_ours(ctx) ? find(ctx, destination) : 0;

	if (!front)
		return PASS;
	if (front->count == 0)
		return REFUSE;
	key.socket = bpf_get_socket_cookie(ctx);
	known = bpf_map_lookup_elem(&flows, &key);
	if (known)
		*backend = *known;
	if (!known || !is_member(front->pool, backend, 1)) {
		if (!(front->affinity_seconds ? pick_for_client(ctx, front, backend) : pick(front, backend)))
			return REFUSE;
		bpf_map_update_elem(&flows, &key, backend, BPF_ANY);
	}
	remember(key.socket, backend, ANSWERED, destination);
	return TRANSLATE;
}

/* What the process takes its peer for. */
INLINE enum outcome naming(struct bpf_sock_addr *ctx, const struct endpoint *source, struct endpoint *service)
{
	struct flow_key key = { .socket = bpf_get_socket_cookie(ctx), .at = *source, .direction = ANSWERED };
	struct peer *peer = bpf_map_lookup_elem(&peers, &key.socket);
	struct endpoint *known;

	if (peer && is_same(&peer->backend, source)) {
		*service = peer->service;
		return TRANSLATE;
	}
	known = source->protocol == PROTOCOL_UDP ? bpf_map_lookup_elem(&flows, &key) : 0;
	if (!known)
		return PASS;
	*service = *known;
	return TRANSLATE;
}

INLINE int refuse(void)
{
	if (settings.has_error_codes)
		bpf_set_retval(-ECONNREFUSED);
	return 0;
}

#define READ4(ctx) { .address = { 0, 0, NETWORK32(0xffff), (ctx)->user_ip4 }, .port = (ctx)->user_port, .protocol = (ctx)->protocol }
#define READ6(ctx) { .address = { (ctx)->user_ip6[0], (ctx)->user_ip6[1], (ctx)->user_ip6[2], (ctx)->user_ip6[3] }, .port = (ctx)->user_port, \
	.protocol = (ctx)->protocol }

INLINE void write4(struct bpf_sock_addr *ctx, const struct endpoint *to)
{
	ctx->user_ip4 = to->address[3];
	ctx->user_port = to->port;
}

INLINE void write6(struct bpf_sock_addr *ctx, const struct endpoint *to)
{
	ctx->user_ip6[0] = to->address[0];
	ctx->user_ip6[1] = to->address[1];
	ctx->user_ip6[2] = to->address[2];
	ctx->user_ip6[3] = to->address[3];
	ctx->user_port = to->port;
}

#define PROGRAM(name, section, decide, family, refusal) \
	SECTION(section) int name(struct bpf_sock_addr *ctx) \
	{ \
		struct endpoint from = READ##family(ctx), to = {}; \
		enum outcome outcome = decide(ctx, &from, &to); \
		if (outcome == REFUSE) \
			return refusal; \
		if (outcome == TRANSLATE) \
			write##family(ctx, &to); \
		return 1; \
	}

PROGRAM(connect4, "cgroup/connect4", connecting, 4, refuse())
PROGRAM(connect6, "cgroup/connect6", connecting, 6, refuse())
PROGRAM(sendmsg4, "cgroup/sendmsg4", sending, 4, refuse())
PROGRAM(sendmsg6, "cgroup/sendmsg6", sending, 6, refuse())
PROGRAM(recvmsg4, "cgroup/recvmsg4", naming, 4, 1)
PROGRAM(recvmsg6, "cgroup/recvmsg6", naming, 6, 1)
PROGRAM(getpeername4, "cgroup/getpeername4", naming, 4, 1)
PROGRAM(getpeername6, "cgroup/getpeername6", naming, 6, 1)

SECTION("cgroup/sock_release") int sock_release(struct bpf_sock *ctx)
{
	__u64 cookie = bpf_get_socket_cookie(ctx);

	bpf_map_delete_elem(&peers, &cookie);
	return 1;
}

/* No kernel function that we call asks for more. */
char terms[] SECTION("license") = "Apache-2.0";
