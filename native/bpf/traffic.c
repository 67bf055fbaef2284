/*
 * Services for who comes from outside: packets that arrive for a Service's address get an endpoint's in its place, before the kernel routes them, and those
 * that leave as an endpoint's answers get the Service's back. Both happen at the links that lead outside. What lies between, and what connection tracking
 * and policies see of it, are packets between client and endpoint like any others. Where the node must speak for the client, the mark says so, and the
 * masquerade rule does it. Nobody to send to is left to the rules too, which refuse.
 */
#include "connections.h"

/* Where a service port is reached from outside. Of cluster IPs alone, `frontends` says enough. */
struct outside_frontend {
	__u64 service, pool, pods_pool;
	__u32 count, pods_count, affinity_seconds, flags;
};
/* The node speaks for the client; only some sources may come in; no endpoint here means silence. */
enum { MASQUERADES = 1, HAS_SOURCES = 2, IS_SILENT = 4 };

struct source_key {
	__u32 length;
	__u32 service[2];
	__u32 address[4];
};

struct client_key {
	__u64 service;
	__u32 address[4];
};

/* Who is a pod: not known in a family where the node has no word of it. */
struct network {
	__u32 address[4], mask[4];
	__u32 is_known, masquerades_all;
};

/* Of a packet in parts only the first has ports. */
struct part_key {
	__u32 source[4], destination[4];
	__u32 id;
	__u16 protocol, direction;
};
struct part_value {
	__u32 address[4];
	__u32 mark, zero;
};

struct map outside_frontends SECTION("maps") = { BPF_MAP_TYPE_HASH, sizeof(struct endpoint), sizeof(struct outside_frontend), 131072, BPF_F_NO_PREALLOC };
struct map sources SECTION("maps") = { BPF_MAP_TYPE_LPM_TRIE, sizeof(struct source_key), sizeof(__u8), 65536, BPF_F_NO_PREALLOC };
struct map pod_networks SECTION("maps") = { BPF_MAP_TYPE_ARRAY, sizeof(__u32), sizeof(struct network), 2, 0 };
struct map clients SECTION("maps") = { BPF_MAP_TYPE_LRU_HASH, sizeof(struct client_key), sizeof(struct affinity), 16384, 0 };
struct map parts SECTION("maps") = { BPF_MAP_TYPE_LRU_HASH, sizeof(struct part_key), sizeof(struct part_value), 1024, 0 };

INLINE struct network *pods_of(const struct packet *packet)
{
	__u32 family = packet->is_ipv6;

	return bpf_map_lookup_elem(&pod_networks, &family);
}

INLINE int is_pod(const struct network *pods, const struct flow *flow)
{
	return pods && pods->is_known && (flow->source[3] & pods->mask[3]) == pods->address[3] && (flow->source[2] & pods->mask[2]) == pods->address[2]
		&& (flow->source[1] & pods->mask[1]) == pods->address[1] && (flow->source[0] & pods->mask[0]) == pods->address[0];
}

/* What a client gets depends on its address and port alone, so that a connection whose entry was lost meets its endpoint again. */
INLINE __u32 draw(const struct flow *flow, __u64 service, __u32 count)
{
	__u32 hash = (__u32)service ^ (__u32)(service >> 32);

	hash = (hash ^ flow->source[0]) * 0x9e3779b1, hash ^= hash >> 15;
	hash = (hash ^ flow->source[1]) * 0x9e3779b1, hash ^= hash >> 15;
	hash = (hash ^ flow->source[2]) * 0x9e3779b1, hash ^= hash >> 15;
	hash = (hash ^ flow->source[3]) * 0x9e3779b1, hash ^= hash >> 15;
	hash = (hash ^ flow->source_port) * 0x9e3779b1, hash ^= hash >> 15;
	hash *= 0x85ebca6b, hash ^= hash >> 13;
	return (__u32)((__u64)hash * count >> 32);
}

INLINE int draw_for_client(const struct flow *flow, __u64 service, __u64 pool, __u32 number, __u32 seconds, struct endpoint *backend, __u64 now)
{
	struct client_key key = { .service = service };
	struct affinity *known, fresh = {};

	__builtin_memcpy(key.address, flow->source, 16);
	known = bpf_map_lookup_elem(&clients, &key);
	if (known && now - known->used_ns < seconds * SECOND) {
		*backend = known->backend;
		if (is_member(pool, backend, 0)) {
			known->used_ns = now;
			return 1;
		}
	}
	if (!take(pool, draw(flow, service, number), backend))
		return 0;
	fresh.backend = *backend;
	fresh.used_ns = now;
	if (bpf_map_update_elem(&clients, &key, &fresh, BPF_ANY))
		count(AFFINITIES_FULL);
	return 1;
}

enum outcome { PASS, DROP, TRANSLATE };

/* A new flow: whom it is for. */
INLINE enum outcome choose(const struct packet *packet, const struct flow *flow, struct translation *to, __u64 now)
{
	struct endpoint at = { .port = flow->destination_port, .protocol = flow->protocol }, backend = {};
	struct source_key source;
	struct outside_frontend *outside;
	struct frontend *inside;
	struct network *pods;
	__u64 service, pool;
	__u32 number, seconds, flags;

	__builtin_memcpy(at.address, flow->destination, 16);
	outside = bpf_map_lookup_elem(&outside_frontends, &at);
	inside = outside ? 0 : bpf_map_lookup_elem(&frontends, &at);
	if (!outside && !inside) {
		at = port_of_node(packet->is_ipv6, flow->destination_port, flow->protocol);
		outside = bpf_map_lookup_elem(&outside_frontends, &at);
		if (!outside || !bpf_map_lookup_elem(&node_addresses, flow->destination))
			return PASS;
		/* The node itself may use the port's number for a connection of its own, whose packets are no beginning. */
		if (flow->protocol == PROTOCOL_TCP && (packet->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) != TCP_SYN)
			return PASS;
	}
	if (packet->tcp_flags & TCP_RST)
		return PASS;
	pods = pods_of(packet);
	if (inside) {
		service = inside->service;
		pool = inside->pool;
		number = inside->count;
		seconds = inside->affinity_seconds;
		/* Who is no pod may not have the way back that the translation needs. */
		flags = pods && (pods->masquerades_all || (pods->is_known && !is_pod(pods, flow))) ? MASQUERADED : 0;
	} else {
		service = outside->service;
		seconds = outside->affinity_seconds;
		flags = outside->flags & MASQUERADES ? MASQUERADED : 0;
		pool = outside->pool;
		number = outside->count;
		if (outside->flags & HAS_SOURCES) {
			source.length = 192;
			source.service[0] = (__u32)service;
			source.service[1] = (__u32)(service >> 32);
			__builtin_memcpy(source.address, flow->source, 16);
			if (!bpf_map_lookup_elem(&sources, &source)) {
				count(SOURCES_REFUSED);
				return DROP;
			}
		}
		/* Pods are inside: that a connection must stay on this node does not hold for them. */
		if (!(outside->flags & MASQUERADES) && is_pod(pods, flow)) {
			pool = outside->pods_pool;
			number = outside->pods_count;
		} else if (number == 0 && (outside->flags & IS_SILENT)) {
			return DROP;
		}
	}
	if (number == 0)
		return PASS;
	if (!(seconds ? draw_for_client(flow, service, pool, number, seconds, &backend, now) : take(pool, draw(flow, service, number), &backend)))
		return PASS;
	__builtin_memcpy(to->address, backend.address, 16);
	to->port = backend.port;
	to->client_port = flow->source_port;
	to->flags = flags;
	to->pool = pool;
	to->used_ns = now;
	return TRANSLATE;
}

INLINE void note_part(const struct packet *packet, const struct flow *flow, const struct translation *to, __u32 mark)
{
	struct part_key key = { .id = packet->id, .protocol = flow->protocol, .direction = flow->direction };
	struct part_value value = { .mark = mark };

	if (packet->part != FIRST_PART)
		return;
	__builtin_memcpy(key.source, flow->source, 16);
	__builtin_memcpy(key.destination, flow->destination, 16);
	__builtin_memcpy(value.address, to->address, 16);
	bpf_map_update_elem(&parts, &key, &value, BPF_ANY);
}

/* The first part has mended the sum for all. */
INLINE void translate_part(struct __sk_buff *skb, const struct packet *packet, const struct flow *flow)
{
	struct part_key key = { .id = packet->id, .protocol = flow->protocol, .direction = flow->direction };
	struct part_value *first;
	__u32 address[4];

	__builtin_memcpy(key.source, flow->source, 16);
	__builtin_memcpy(key.destination, flow->destination, 16);
	first = bpf_map_lookup_elem(&parts, &key);
	if (!first)
		return;
	__builtin_memcpy(address, first->address, 16);
	skb->mark |= first->mark;
	if (flow->direction == ARRIVING)
		exchange_address(skb, packet, DESTINATION, flow->destination, address, 0, 0);
	else
		exchange_address(skb, packet, SOURCE, flow->source, address, 0, 0);
}

INLINE void translate(struct __sk_buff *skb, const struct packet *packet, const struct flow *flow, const struct translation *to)
{
	__u32 sum = sum_of(packet, flow->protocol);
	/* A datagram of IPv4 may have no sum, which is to stay so. */
	__u64 flags = flow->protocol == PROTOCOL_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	enum end end = flow->direction == ARRIVING ? DESTINATION : SOURCE;

	exchange_address(skb, packet, end, end == SOURCE ? flow->source : flow->destination, to->address, sum, flags | BPF_F_PSEUDO_HDR);
	exchange_port(skb, packet, end, end == SOURCE ? flow->source_port : flow->destination_port, to->port, sum, flags);
	if (end == SOURCE)
		exchange_port(skb, packet, DESTINATION, flow->destination_port, to->client_port, sum, flags);
	else
		exchange_port(skb, packet, SOURCE, flow->source_port, to->client_port, sum, flags);
}

/* "Too big", "unreachable" and the like, of RFC 792 and RFC 4443: they quote the packet that they are about. */
INLINE int is_error(const struct packet *packet)
{
	return packet->is_ipv6 ? packet->icmp_type >= 1 && packet->icmp_type <= 4 : packet->icmp_type == 3 || packet->icmp_type == 11 || packet->icmp_type == 12;
}

/*
 * An error that arrives quotes an answer of ours as it left, one that leaves a client's packet as it is inside: each goes on with the quotation that its
 * reader knows. The sum of a quoted IPv4 header makes up for its address; that of the quoted transport is nobody's to look at.
 */
INLINE void translate_error(struct __sk_buff *skb, const struct packet *packet, const struct flow *flow)
{
	struct packet quoted = {};
	struct flow inner = {}, key = { .direction = flow->direction };
	struct translation *known;
	__u32 sum = sum_of(packet, flow->protocol), address[4];
	__u16 port, client_port;
	int arrives = flow->direction == ARRIVING;

	if (!is_error(packet) || !read_packet(skb, packet->transport + 8, packet->is_ipv6, &quoted, &inner))
		return;
	if (quoted.part == LATER_PART || (inner.protocol != PROTOCOL_TCP && inner.protocol != PROTOCOL_UDP))
		return;
	__builtin_memcpy(key.source, inner.destination, 16);
	__builtin_memcpy(key.destination, inner.source, 16);
	key.source_port = inner.destination_port;
	key.destination_port = inner.source_port;
	key.protocol = inner.protocol;
	known = bpf_map_lookup_elem(&connections, &key);
	if (!known || (known->flags & NODES_OWN))
		return;
	__builtin_memcpy(address, known->address, 16);
	port = known->port;
	client_port = known->client_port;
	if (arrives) {
		exchange_address(skb, &quoted, SOURCE, inner.source, address, packet->is_ipv6 ? sum : 0, 0);
		exchange_port(skb, &quoted, SOURCE, inner.source_port, port, sum, 0);
		exchange_port(skb, &quoted, DESTINATION, inner.destination_port, client_port, sum, 0);
		exchange_address(skb, packet, DESTINATION, flow->destination, address, packet->is_ipv6 ? sum : 0, BPF_F_PSEUDO_HDR);
		return;
	}
	exchange_address(skb, &quoted, DESTINATION, inner.destination, address, packet->is_ipv6 ? sum : 0, 0);
	exchange_port(skb, &quoted, DESTINATION, inner.destination_port, port, sum, 0);
	exchange_port(skb, &quoted, SOURCE, inner.source_port, client_port, sum, 0);
	/* The endpoint itself must not be seen; a router on the way, this node among them, speaks for itself. */
	if (flow->source[3] == inner.destination[3] && flow->source[2] == inner.destination[2] && flow->source[1] == inner.destination[1] && flow->source[0] == inner.destination[0])
		exchange_address(skb, packet, SOURCE, flow->source, address, packet->is_ipv6 ? sum : 0, BPF_F_PSEUDO_HDR);
}

/* Reads a packet and deals with what has no ports of its own; 1 = it is a whole one, or the first part of one, of TCP or UDP. */
INLINE int read_and_handle(struct __sk_buff *skb, struct packet *packet, struct flow *flow)
{
	if (skb->protocol != ETHERNET_IPV4 && skb->protocol != ETHERNET_IPV6)
		return 0;
	if (!read_packet(skb, settings.link_header, skb->protocol == ETHERNET_IPV6, packet, flow))
		return 0;
	if (packet->part == LATER_PART) {
		translate_part(skb, packet, flow);
		return 0;
	}
	if (flow->protocol != PROTOCOL_TCP && flow->protocol != PROTOCOL_UDP) {
		translate_error(skb, packet, flow);
		return 0;
	}
	return flow->protocol != PROTOCOL_TCP || !bpf_skb_load_bytes(skb, packet->transport + 13, &packet->tcp_flags, 1);
}

SECTION("tc/ingress") int arriving(struct __sk_buff *skb)
{
	struct packet packet = {};
	struct flow flow = { .direction = ARRIVING };
	struct translation *known, to = {};
	__u64 now;
	__u32 mark;
	int begins;

	if (!read_and_handle(skb, &packet, &flow))
		return TC_ACT_UNSPEC;
	now = bpf_ktime_get_ns();
	begins = flow.protocol == PROTOCOL_TCP && (packet.tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
	known = bpf_map_lookup_elem(&connections, &flow);
	if (known && (known->flags & NODES_OWN)) {
		if (!is_over(&flow, known, now))
			return TC_ACT_UNSPEC;
		known = 0;
	}
	if (known) {
		int is_ended = known->flags & WAS_RESET || ((known->flags & CLIENT_ENDED) && (known->flags & SERVER_ENDED));
		struct endpoint backend = { .port = known->port, .protocol = flow.protocol };

		__builtin_memcpy(backend.address, known->address, 16);
		/* Datagrams know no end: they go on to another endpoint when theirs is gone. */
		if (is_over(&flow, known, now) || (begins && is_ended) || (flow.protocol == PROTOCOL_UDP && !is_member(known->pool, &backend, 1))) {
			forget(&flow, known);
			known = 0;
		}
	}
	if (known) {
		follow(&flow, known, &packet, now);
		to = *known;
	} else {
		enum outcome outcome = choose(&packet, &flow, &to, now);

		if (outcome == PASS) {
			if (begins)
				forget_ended(&flow);
			return TC_ACT_UNSPEC;
		}
		if (outcome == DROP || !begin(&flow, &to, now))
			return TC_ACT_SHOT;
	}
	mark = to.flags & MASQUERADED ? settings.mark : 0;
	skb->mark |= mark;
	note_part(&packet, &flow, &to, mark);
	translate(skb, &packet, &flow, &to);
	return TC_ACT_UNSPEC;
}

/* The node, or who speaks as the node, sends from the number of a node port: what comes back is no client's. */
INLINE void note_own(const struct packet *packet, const struct flow *flow, __u64 now)
{
	struct endpoint any = port_of_node(packet->is_ipv6, flow->source_port, flow->protocol);
	struct flow back = { .direction = ARRIVING, .protocol = flow->protocol, .source_port = flow->destination_port, .destination_port = flow->source_port };
	struct translation own = { .flags = NODES_OWN, .used_ns = now }, *known;

	if (!bpf_map_lookup_elem(&outside_frontends, &any) || !bpf_map_lookup_elem(&node_addresses, flow->source))
		return;
	__builtin_memcpy(back.source, flow->destination, 16);
	__builtin_memcpy(back.destination, flow->source, 16);
	known = bpf_map_lookup_elem(&connections, &back);
	if (known && now - known->used_ns < SECOND)
		return;
	bpf_map_update_elem(&connections, &back, &own, BPF_ANY);
}

SECTION("tc/egress") int leaving(struct __sk_buff *skb)
{
	struct packet packet = {};
	struct flow flow = { .direction = LEAVING };
	struct translation *known, to;
	__u64 now;

	if (!read_and_handle(skb, &packet, &flow))
		return TC_ACT_UNSPEC;
	now = bpf_ktime_get_ns();
	known = bpf_map_lookup_elem(&connections, &flow);
	if (!known || is_over(&flow, known, now)) {
		if (flow.protocol == PROTOCOL_UDP)
			note_own(&packet, &flow, now);
		return TC_ACT_UNSPEC;
	}
	follow(&flow, known, &packet, now);
	to = *known;
	note_part(&packet, &flow, &to, 0);
	translate(skb, &packet, &flow, &to);
	return TC_ACT_UNSPEC;
}

/* No kernel function that we call asks for more. */
char terms[] SECTION("license") = "Apache-2.0";
