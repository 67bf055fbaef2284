// The first process of a pod: holds the pod's namespaces open, and, where the pod shares one PID namespace, reaps the
// orphans of all its containers. Ends at SIGTERM or SIGINT.
//
// It takes signals synchronously (rt_sigtimedwait) and so needs neither handlers nor a C library: a blocked signal is queued
// even for the init of a PID namespace, whose default-action signals the kernel would otherwise drop (kernel/signal.c, sig_ignored).

#if defined(__x86_64__)
enum { SYS_RT_SIGPROCMASK = 14, SYS_WAIT4 = 61, SYS_EXIT_GROUP = 231, SYS_RT_SIGTIMEDWAIT = 128 };
#elif defined(__aarch64__)
enum { SYS_RT_SIGPROCMASK = 135, SYS_WAIT4 = 260, SYS_EXIT_GROUP = 94, SYS_RT_SIGTIMEDWAIT = 137 };
#else
#error "add this architecture's system call numbers"
#endif

enum { SIGINT = 2, SIGTERM = 15, SIGCHLD = 17, SIG_BLOCK = 0, WNOHANG = 1, KERNEL_SIGSET_BYTES = 8 };

static long syscall4(long number, long a, long b, long c, long d)
{
#if defined(__x86_64__)
    long result;
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return result;
#else
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
#endif
}

void _start(void)
{
    unsigned long awaited = 1UL << (SIGINT - 1) | 1UL << (SIGTERM - 1) | 1UL << (SIGCHLD - 1);
    syscall4(SYS_RT_SIGPROCMASK, SIG_BLOCK, (long)&awaited, 0, KERNEL_SIGSET_BYTES);
    for (;;) {
        long signal = syscall4(SYS_RT_SIGTIMEDWAIT, (long)&awaited, 0, 0, KERNEL_SIGSET_BYTES);
        if (signal == SIGINT || signal == SIGTERM)
            syscall4(SYS_EXIT_GROUP, 0, 0, 0, 0);
        // Several deaths may have been folded into one signal.
        while (syscall4(SYS_WAIT4, -1, 0, WNOHANG, 0) > 0)
            ;
    }
}
