/* Packets in an skb: what they are of, and how an address or a port in them is exchanged with all sums that stand for it. */
#pragma once

#include "services.h"
#include <linux/pkt_cls.h>

#define PROTOCOL_ICMP 1
#define PROTOCOL_ICMP6 58
#define ETHERNET_IPV4 NETWORK16(0x0800)
#define ETHERNET_IPV6 NETWORK16(0x86dd)

/* Of linux/bpf.h since 6.16: no sum of IPv6's header makes up for what changes in it. */
#define MEND_IPV6 (1ull << 7)

/* RFC 791, RFC 8200 */
struct ipv4 {
	__u8 version, service;
	__u16 length, id, fragment;
	__u8 hops, protocol;
	__u16 sum;
	__u32 source, destination;
};
struct ipv6 {
	__u32 version;
	__u16 length;
	__u8 next, hops;
	__u32 source[4], destination[4];
};
#define HOP_BY_HOP 0
#define FRAGMENT 44
#define DESTINATION_OPTIONS 60
#define MAX_EXTENSIONS 4

enum direction { ARRIVING, LEAVING };

/* A packet's ends, as they are where it arrives or leaves. A key: no holes. */
struct flow {
	__u32 source[4], destination[4];
	__u16 source_port, destination_port;
	__u16 protocol, direction;
};

enum part { WHOLE, FIRST_PART, LATER_PART };

/* Where things are in it. */
struct packet {
	__u32 network, transport, id;
	__u8 is_ipv6, part, tcp_flags, icmp_type;
};

#define TCP_FIN 1
#define TCP_SYN 2
#define TCP_RST 4
#define TCP_ACK 16

INLINE int read_network4(struct __sk_buff *skb, struct packet *packet, struct flow *flow)
{
	struct ipv4 header;
	__u32 offset;

	if (bpf_skb_load_bytes(skb, packet->network, &header, sizeof(header)) || header.version >> 4 != 4)
		return 0;
	flow->source[2] = flow->destination[2] = NETWORK32(0xffff);
	flow->source[3] = header.source;
	flow->destination[3] = header.destination;
	flow->protocol = header.protocol;
	packet->transport = packet->network + (header.version & 15) * 4;
	packet->id = header.id;
	offset = NETWORK16(header.fragment) & 0x1fff;
	packet->part = offset ? LATER_PART : header.fragment & NETWORK16(0x2000) ? FIRST_PART : WHOLE;
	return 1;
}

INLINE int read_network6(struct __sk_buff *skb, struct packet *packet, struct flow *flow)
{
	struct ipv6 header;
	struct { __u8 next, length; __u16 offset; __u32 id; } extension;
	__u32 at = packet->network + sizeof(header);
	__u8 next;

	if (bpf_skb_load_bytes(skb, packet->network, &header, sizeof(header)))
		return 0;
	__builtin_memcpy(flow->source, header.source, 16);
	__builtin_memcpy(flow->destination, header.destination, 16);
	packet->is_ipv6 = 1;
	next = header.next;
#pragma unroll
	for (int i = 0; i < MAX_EXTENSIONS; i++) {
		if (next != HOP_BY_HOP && next != FRAGMENT && next != DESTINATION_OPTIONS)
			break;
		if (bpf_skb_load_bytes(skb, at, &extension, sizeof(extension)))
			return 0;
		if (next == FRAGMENT) {
			packet->id = extension.id;
			packet->part = extension.offset & NETWORK16(0xfff8) ? LATER_PART : extension.offset & NETWORK16(1) ? FIRST_PART : WHOLE;
			at += sizeof(extension);
		} else {
			at += (extension.length + 1) * 8;
		}
		next = extension.next;
	}
	flow->protocol = next;
	packet->transport = at;
	return 1;
}

/* Reads a packet that starts at `at`; 0 = it is none that we know. */
INLINE int read_packet(struct __sk_buff *skb, __u32 at, int is_ipv6, struct packet *packet, struct flow *flow)
{
	__u32 ports;

	packet->network = at;
	if (!(is_ipv6 ? read_network6(skb, packet, flow) : read_network4(skb, packet, flow)))
		return 0;
	if (packet->part == LATER_PART)
		return 1;
	if (flow->protocol == PROTOCOL_TCP || flow->protocol == PROTOCOL_UDP) {
		if (bpf_skb_load_bytes(skb, packet->transport, &ports, sizeof(ports)))
			return 0;
		flow->source_port = (__u16)ports;
		flow->destination_port = (__u16)(ports >> 16);
		return 1;
	}
	return flow->protocol == (is_ipv6 ? PROTOCOL_ICMP6 : PROTOCOL_ICMP) && !bpf_skb_load_bytes(skb, packet->transport, &packet->icmp_type, 1);
}

enum end { SOURCE, DESTINATION };

INLINE __u32 sum_of(const struct packet *packet, __u16 protocol)
{
	return packet->transport + (protocol == PROTOCOL_TCP ? 16 : protocol == PROTOCOL_UDP ? 6 : 2);
}

/* `sum`: of the transport, 0 = it does not count addresses; `flags`: what else the kernel must know of it. */
INLINE void exchange_address(struct __sk_buff *skb, const struct packet *packet, enum end end, const __u32 *from, const __u32 *to, __u32 sum, __u64 flags)
{
	__s64 difference;

	if (packet->is_ipv6) {
		difference = bpf_csum_diff(from, 16, to, 16, 0);
		/* A kernel before 6.16 does not know the flag, and refuses. */
		if (sum && (!(flags & BPF_F_PSEUDO_HDR) || bpf_l4_csum_replace(skb, sum, 0, difference, flags | MEND_IPV6)))
			bpf_l4_csum_replace(skb, sum, 0, difference, flags);
		bpf_skb_store_bytes(skb, packet->network + (end == SOURCE ? 8 : 24), to, 16, 0);
		return;
	}
	if (sum)
		bpf_l4_csum_replace(skb, sum, from[3], to[3], flags | sizeof(__u32));
	bpf_l3_csum_replace(skb, packet->network + 10, from[3], to[3], sizeof(__u32));
	bpf_skb_store_bytes(skb, packet->network + (end == SOURCE ? 12 : 16), &to[3], 4, 0);
}

INLINE void exchange_port(struct __sk_buff *skb, const struct packet *packet, enum end end, __u16 from, __u16 to, __u32 sum, __u64 flags)
{
	if (from == to)
		return;
	bpf_l4_csum_replace(skb, sum, from, to, flags | sizeof(__u16));
	bpf_skb_store_bytes(skb, packet->transport + (end == SOURCE ? 0 : 2), &to, 2, 0);
}
