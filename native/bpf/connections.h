/* Connections from outside: what became of their first packet, for all that follow and for the answers. */
#pragma once

#include "packet.h"

#define SECOND 1000000000ull
#define PORT_TRIES 8

/*
 * What becomes of a flow's packets. Arriving: destination and source port are to be these; leaving: source and destination port. The two halves of a
 * connection lead to each other.
 */
struct translation {
	__u32 address[4];
	__u16 port, client_port;
	__u32 flags;
	__u64 pool, used_ns;
};
enum { ANSWERED = 1, MASQUERADED = 2, NODES_OWN = 4, CLIENT_ENDED = 8, SERVER_ENDED = 16, WAS_RESET = 32 };

/* Two entries for each connection. The loader may ask for another size. */
struct map connections SECTION("maps") = { BPF_MAP_TYPE_LRU_HASH, sizeof(struct flow), sizeof(struct translation), 65536, 0 };

/* Written by the loader before the kernel looks at the programs. */
struct settings {
	__u32 link_header, mark;
	__u32 unanswered_seconds, established_seconds, half_ended_seconds, ended_seconds, reset_seconds;
	__u32 datagram_seconds, datagram_stream_seconds, zero;
};
static const volatile struct settings settings SECTION(".rodata") = {};

/* How the way back looks, and what becomes of its packets. */
INLINE void invert(const struct flow *flow, const struct translation *to, struct flow *back, struct translation *answer)
{
	int arrives = flow->direction == ARRIVING;

	__builtin_memcpy(back->source, arrives ? to->address : flow->destination, 16);
	__builtin_memcpy(back->destination, arrives ? flow->source : to->address, 16);
	back->source_port = arrives ? to->port : to->client_port;
	back->destination_port = arrives ? to->client_port : to->port;
	back->protocol = flow->protocol;
	back->direction = arrives ? LEAVING : ARRIVING;
	__builtin_memcpy(answer->address, arrives ? flow->destination : flow->source, 16);
	answer->port = arrives ? flow->destination_port : flow->source_port;
	answer->client_port = arrives ? flow->source_port : flow->destination_port;
	answer->flags = to->flags;
	answer->pool = to->pool;
	answer->used_ns = to->used_ns;
}

INLINE int is_over(const struct flow *flow, const struct translation *known, __u64 now)
{
	__u32 flags = known->flags, seconds;

	if (flow->protocol == PROTOCOL_UDP)
		seconds = flags & ANSWERED ? settings.datagram_stream_seconds : settings.datagram_seconds;
	else if (flags & WAS_RESET)
		seconds = settings.reset_seconds;
	else if ((flags & CLIENT_ENDED) && (flags & SERVER_ENDED))
		seconds = settings.ended_seconds;
	else if (flags & (CLIENT_ENDED | SERVER_ENDED))
		seconds = settings.half_ended_seconds;
	else
		seconds = flags & ANSWERED ? settings.established_seconds : settings.unanswered_seconds;
	return now - known->used_ns > seconds * SECOND;
}

/* Both halves stay as long as one of them is used, and know of each other's end. */
INLINE void follow(const struct flow *flow, struct translation *known, const struct packet *packet, __u64 now)
{
	__u32 flags = known->flags;
	struct flow back;
	struct translation answer, *other;

	if (flow->direction == LEAVING)
		flags |= ANSWERED;
	if (flow->protocol == PROTOCOL_TCP && (packet->tcp_flags & TCP_FIN))
		flags |= flow->direction == ARRIVING ? CLIENT_ENDED : SERVER_ENDED;
	if (flow->protocol == PROTOCOL_TCP && (packet->tcp_flags & TCP_RST))
		flags |= WAS_RESET;
	if (flags == known->flags && now - known->used_ns < SECOND)
		return;
	known->flags = flags;
	known->used_ns = now;
	invert(flow, known, &back, &answer);
	other = bpf_map_lookup_elem(&connections, &back);
	if (other) {
		other->flags = flags;
		other->used_ns = now;
	} else {
		bpf_map_update_elem(&connections, &back, &answer, BPF_NOEXIST);
	}
}

INLINE void forget(const struct flow *flow, const struct translation *known)
{
	struct flow back;
	struct translation answer;

	invert(flow, known, &back, &answer);
	bpf_map_delete_elem(&connections, &back);
	bpf_map_delete_elem(&connections, flow);
	count(FLOWS_FORGOTTEN);
}

/* Notes both halves. Two connections of one client that their endpoint could not tell apart: the second gets another port. */
INLINE int begin(const struct flow *flow, struct translation *to, __u64 now)
{
	struct flow back;
	struct translation answer, *known;
	int isFree = 0;

	invert(flow, to, &back, &answer);
#pragma unroll
	for (int i = 0; i < PORT_TRIES; i++) {
		known = bpf_map_lookup_elem(&connections, &back);
		isFree = !known || is_over(&back, known, now)
			|| (known->port == answer.port && known->client_port == answer.client_port && known->address[3] == answer.address[3]
				&& known->address[2] == answer.address[2] && known->address[1] == answer.address[1] && known->address[0] == answer.address[0]);
		if (isFree)
			break;
		to->client_port = back.destination_port = NETWORK16(1024 + bpf_get_prandom_u32() % 64512);
	}
	if (!isFree || bpf_map_update_elem(&connections, &back, &answer, BPF_ANY) || bpf_map_update_elem(&connections, flow, to, BPF_ANY)) {
		count(FLOWS_FULL);
		return 0;
	}
	count(FLOWS_BEGUN);
	return 1;
}

/* A client that connects to an endpoint itself with the port of a connection that has ended is not to get the Service's answers. */
INLINE void forget_ended(const struct flow *flow)
{
	struct flow back = { .direction = LEAVING, .protocol = PROTOCOL_TCP, .source_port = flow->destination_port, .destination_port = flow->source_port };
	struct translation *known;

	__builtin_memcpy(back.source, flow->destination, 16);
	__builtin_memcpy(back.destination, flow->source, 16);
	known = bpf_map_lookup_elem(&connections, &back);
	if (known && (known->flags & (CLIENT_ENDED | SERVER_ENDED | WAS_RESET)))
		forget(&back, known);
}
