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
static int (*const bpf_set_retval)(int value) = (void *)BPF_FUNC_set_retval;

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define NETWORK16(value) ((__u16)__builtin_bswap16(value))
#define NETWORK32(value) ((__u32)__builtin_bswap32(value))
#else
#define NETWORK16(value) ((__u16)(value))
#define NETWORK32(value) ((__u32)(value))
#endif
