/* What our programs use of the kernel: helpers by number, maps as the loader finds them. */
#pragma once

#include <linux/bpf.h>

#define SECTION(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))

/* The loader makes a map of every symbol in the section "maps". */
struct map {
	__u32 type, key_size, value_size, max_entries, flags;
};

static void *(*const bpf_map_lookup_elem)(const void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static long (*const bpf_map_update_elem)(const void *map, const void *key, const void *value, __u64 flags) = (void *)BPF_FUNC_map_update_elem;
static long (*const bpf_map_delete_elem)(const void *map, const void *key) = (void *)BPF_FUNC_map_delete_elem;
static __u64 (*const bpf_ktime_get_ns)(void) = (void *)BPF_FUNC_ktime_get_ns;
static __u32 (*const bpf_get_prandom_u32)(void) = (void *)BPF_FUNC_get_prandom_u32;
static __u64 (*const bpf_get_socket_cookie)(void *ctx) = (void *)BPF_FUNC_get_socket_cookie;
static __u64 (*const bpf_get_netns_cookie)(void *ctx) = (void *)BPF_FUNC_get_netns_cookie;
static long (*const bpf_skb_load_bytes)(const void *skb, __u32 offset, void *to, __u32 length) = (void *)BPF_FUNC_skb_load_bytes;
static long (*const bpf_skb_store_bytes)(void *skb, __u32 offset, const void *from, __u32 length, __u64 flags) = (void *)BPF_FUNC_skb_store_bytes;
static long (*const bpf_l3_csum_replace)(void *skb, __u32 offset, __u64 from, __u64 to, __u64 size) = (void *)BPF_FUNC_l3_csum_replace;
static long (*const bpf_l4_csum_replace)(void *skb, __u32 offset, __u64 from, __u64 to, __u64 flags) = (void *)BPF_FUNC_l4_csum_replace;
static __s64 (*const bpf_csum_diff)(const __u32 *from, __u32 from_size, const __u32 *to, __u32 to_size, __u32 seed) = (void *)BPF_FUNC_csum_diff;
static int (*const bpf_set_retval)(int value) = (void *)BPF_FUNC_set_retval;

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define NETWORK16(value) ((__u16)__builtin_bswap16(value))
#define NETWORK32(value) ((__u32)__builtin_bswap32(value))
#else
#define NETWORK16(value) ((__u16)(value))
#define NETWORK32(value) ((__u32)(value))
#endif
