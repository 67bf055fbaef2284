/*
 * The CNI plugin: hands each call of the container runtime to the network agent over a Unix socket and prints the answer. It decides nothing.
 *
 * GC and STATUS are the agent's to answer as well. Called under the name "loopback" it is the loopback plugin instead, and brings lo up by itself. When the agent cannot be reached, ADD and
 * CHECK answer with code 11 (try again later), and DEL removes the pod's link by itself and succeeds: the agent gives the address back when it
 * starts and finds no link, and no pod's removal ever waits for us.
 *
 * Request:  "K3SFCNI1" | u32 length | command NUL container NUL netns NUL ifname NUL args NUL | configuration (stdin as it came)
 * Answer:   u32 exit code | JSON for stdout, until end of stream.           Integers in the machine's byte order: both ends are one machine.
 *
 * Freestanding: no libc, a few kilobytes, starts in microseconds.
 */
#include <asm/unistd.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
static long call6(long n, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall" : "=a"(result) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
    return result;
}
__asm__(".globl _start\n_start:\n xor %ebp,%ebp\n mov %rsp,%rdi\n and $-16,%rsp\n call start\n");
#elif defined(__aarch64__)
static long call6(long n, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = n;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}
__asm__(".globl _start\n_start:\n mov x29,#0\n mov x30,#0\n mov x0,sp\n bl start\n");
#else
#error "no system call convention for this architecture"
#endif

#define call(n, a, b, c) call6(n, (long)(a), (long)(b), (long)(c), 0, 0, 0)

enum {
    O_RDONLY_CLOEXEC = 02000000, NEWNET = 0x40000000, FD_AT_CWD = -100,
    UNIX = 1, INET = 2, NETLINK = 16, STREAM = 1, DATAGRAM = 2, RAW = 3, CLOEXEC = 02000000,
    SOCKET_LEVEL = 1, RECEIVE_TIMEOUT = 20, SEND_TIMEOUT = 21,
    /* The runtime gives a CNI call two minutes or more; the agent answers in milliseconds. */
    AGENT_TIMEOUT_SECONDS = 60,
    /* A configuration with the ports of a pod is some kilobytes. */
    MAX_CONFIGURATION = 1 << 20, MAX_ENVIRONMENT = 1 << 14, UNIX_PATH = 108,
    CODE_BAD_ENVIRONMENT = 4, CODE_BAD_CONFIGURATION = 6, CODE_TRY_AGAIN = 11, CODE_NOT_AVAILABLE = 50,
    CODE_INTERNAL = 999,
};

#define DEFAULT_SOCKET "/run/k3s/cni.sock"

static char configuration[MAX_CONFIGURATION + 1];
static size_t configurationLength;
static char output[1 << 16];
static size_t outputLength;
static const char *version = "1.0.0";
static char versionText[16];

void *memcpy(void *to, const void *from, size_t length)
{
    char *t = to;
    const char *f = from;
    while (length--) *t++ = *f++;
    return to;
}

void *memset(void *to, int value, size_t length)
{
    char *t = to;
    while (length--) *t++ = (char)value;
    return to;
}

static size_t length_of(const char *text)
{
    size_t n = 0;
    while (text[n]) n++;
    return n;
}

static int equal(const char *a, const char *b)
{
    while (*a && *a == *b) a++, b++;
    return *a == *b;
}

static int ends_with(const char *text, const char *end)
{
    size_t t = length_of(text), e = length_of(end);
    return t >= e && equal(text + t - e, end);
}

static int write_all(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        long n = call(__NR_write, fd, bytes, length);
        if (n == -4) continue; /* EINTR */
        if (n <= 0) return -1;
        bytes += n;
        length -= (size_t)n;
    }
    return 0;
}

static void put(const char *text)
{
    size_t n = length_of(text);
    if (outputLength + n > sizeof output) n = sizeof output - outputLength;
    memcpy(output + outputLength, text, n);
    outputLength += n;
}

/* A JSON string's inside; what would need escaping is not printed as it is. */
static void put_escaped(const char *text)
{
    for (; *text; text++) {
        char one[2] = { *text, 0 };
        if (*text == '"' || *text == '\\') put("\\");
        put((unsigned char)*text < 0x20 ? " " : one);
    }
}

static void put_number(unsigned value)
{
    char digits[12];
    int at = sizeof digits - 1;
    digits[at] = 0;
    do digits[--at] = (char)('0' + value % 10);
    while (value /= 10);
    put(digits + at);
}

static void finish(int code)
{
    write_all(1, output, outputLength);
    for (;;) call(__NR_exit_group, code, 0, 0);
}

static void fail(unsigned code, const char *message, const char *detail)
{
    outputLength = 0;
    put("{\"cniVersion\":\"");
    put(version);
    put("\",\"code\":");
    put_number(code);
    put(",\"msg\":\"");
    put_escaped(message);
    put("\",\"details\":\"");
    put_escaped(detail);
    put("\"}\n");
    finish(1);
}

/* The value of the first member called name (given with its quotes); strings with escapes are not taken. */
static int find_text(const char *name, char *value, size_t size)
{
    size_t n = length_of(name);
    for (size_t i = 0; i + n < configurationLength; i++) {
        size_t j = 0;
        while (j < n && configuration[i + j] == name[j]) j++;
        if (j < n) continue;
        const char *at = configuration + i + n;
        while (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r') at++;
        if (*at++ != ':') continue;
        while (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r') at++;
        if (*at++ != '"') return 0;
        for (size_t k = 0; k + 1 < size; k++, at++) {
            if (*at == '"') {
                value[k] = 0;
                return 1;
            }
            if (*at == '\\' || *at == 0) return 0;
            value[k] = *at;
        }
        return 0;
    }
    return 0;
}

static void read_configuration(void)
{
    while (configurationLength < MAX_CONFIGURATION) {
        long n = call(__NR_read, 0, configuration + configurationLength, MAX_CONFIGURATION - configurationLength);
        if (n == -4) continue;
        if (n <= 0) break;
        configurationLength += (size_t)n;
    }
    if (configurationLength == MAX_CONFIGURATION) fail(CODE_BAD_CONFIGURATION, "network configuration is too big", "");
    if (find_text("\"cniVersion\"", versionText, sizeof versionText)) version = versionText;
}

/* 0 = inside; otherwise an error number. */
static long enter(const char *path)
{
    long fd = call6(__NR_openat, FD_AT_CWD, (long)path, O_RDONLY_CLOEXEC, 0, 0, 0);
    if (fd < 0) return -fd;
    long result = call(__NR_setns, fd, NEWNET, 0);
    call(__NR_close, fd, 0, 0);
    return result < 0 ? -result : 0;
}

static void set_name(char *to, const char *name)
{
    for (size_t i = 0; i < IFNAMSIZ; i++) to[i] = 0;
    for (size_t i = 0; i + 1 < IFNAMSIZ && name[i]; i++) to[i] = name[i];
}

static void answer_version(void)
{
    put("{\"cniVersion\":\"");
    put(version);
    put("\",\"supportedVersions\":[\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}\n");
    finish(0);
}

static void run_loopback(const char *command, const char *netns)
{
    if (equal(command, "ADD")) {
        if (enter(netns) != 0) fail(CODE_INTERNAL, "cannot enter the network namespace", netns);
        struct ifreq request;
        set_name(request.ifr_name, "lo");
        long fd = call(__NR_socket, INET, DATAGRAM | CLOEXEC, 0);
        if (fd < 0 || call(__NR_ioctl, fd, SIOCGIFFLAGS, &request) < 0) fail(CODE_INTERNAL, "cannot look at lo", netns);
        request.ifr_flags |= IFF_UP;
        if (call(__NR_ioctl, fd, SIOCSIFFLAGS, &request) < 0) fail(CODE_INTERNAL, "cannot bring lo up", netns);
        put("{\"cniVersion\":\"");
        put(version);
        put("\",\"interfaces\":[{\"name\":\"lo\",\"mac\":\"00:00:00:00:00:00\",\"sandbox\":\"");
        put_escaped(netns);
        put("\"}],\"ips\":[{");
        /* Results before 1.0 say the address' family. */
        if (version[0] == '0') put("\"version\":\"4\",");
        put("\"interface\":0,\"address\":\"127.0.0.1/8\"}],\"dns\":{}}\n");
    }
    finish(0);
}

/* The agent is away: take the pod's link down ourselves. A namespace or link that is gone already is what was wanted. */
static void delete_alone(const char *netns, const char *ifname)
{
    struct {
        struct nlmsghdr header;
        struct ifinfomsg link;
        struct rtattr attribute;
        char name[IFNAMSIZ];
    } request;
    if (netns[0] && ifname[0] && enter(netns) == 0) {
        long fd = call(__NR_socket, NETLINK, RAW | CLOEXEC, NETLINK_ROUTE);
        memset(&request, 0, sizeof request);
        request.header.nlmsg_len = sizeof request;
        request.header.nlmsg_type = RTM_DELLINK;
        request.header.nlmsg_flags = NLM_F_REQUEST;
        request.attribute.rta_type = IFLA_IFNAME;
        request.attribute.rta_len = sizeof(struct rtattr) + IFNAMSIZ;
        set_name(request.name, ifname);
        if (fd >= 0) write_all((int)fd, (const char *)&request, sizeof request);
    }
    finish(0);
}

static long connect_agent(const char *path)
{
    struct {
        uint16_t family;
        char path[UNIX_PATH];
    } address;
    struct {
        long seconds, microseconds;
    } timeout = { AGENT_TIMEOUT_SECONDS, 0 };
    memset(&address, 0, sizeof address);
    address.family = UNIX;
    memcpy(address.path, path, length_of(path));
    long fd = call(__NR_socket, UNIX, STREAM | CLOEXEC, 0);
    if (fd < 0) return fd;
    call6(__NR_setsockopt, fd, SOCKET_LEVEL, RECEIVE_TIMEOUT, (long)&timeout, sizeof timeout, 0);
    call6(__NR_setsockopt, fd, SOCKET_LEVEL, SEND_TIMEOUT, (long)&timeout, sizeof timeout, 0);
    long result = call(__NR_connect, fd, &address, sizeof address);
    return result < 0 ? result : fd;
}

/* 0 = asked and answered: output and *code are set. */
static int ask_agent(const char *path, const char **fields, int count, uint32_t *code)
{
    static char request[MAX_ENVIRONMENT];
    uint32_t length = (uint32_t)configurationLength;
    size_t at = 12;
    for (int i = 0; i < count; i++) {
        size_t n = length_of(fields[i]) + 1;
        if (at + n > sizeof request) fail(CODE_BAD_ENVIRONMENT, "CNI environment is too big", "");
        memcpy(request + at, fields[i], n);
        at += n;
        length += (uint32_t)n;
    }
    memcpy(request, "K3SFCNI1", 8);
    memcpy(request + 8, &length, 4);

    long fd = connect_agent(path);
    if (fd < 0 || write_all((int)fd, request, at) != 0 || write_all((int)fd, configuration, configurationLength) != 0) return -1;
    for (;;) {
        long n = call(__NR_read, fd, output + outputLength, sizeof output - outputLength);
        if (n == -4) continue;
        if (n < 0 || (n == 0 && outputLength < 4)) {
            outputLength = 0;
            return -1;
        }
        if (n == 0) break;
        outputLength += (size_t)n;
    }
    memcpy(code, output, 4);
    outputLength -= 4;
    for (size_t i = 0; i < outputLength; i++) output[i] = output[i + 4];
    return 0;
}

__attribute__((used)) void start(long *stack)
{
    static const char *names[] = { "CNI_COMMAND=", "CNI_CONTAINERID=", "CNI_NETNS=", "CNI_IFNAME=", "CNI_ARGS=" };
    const char *values[] = { "", "", "", "", "" };
    char **arguments = (char **)(stack + 1);
    char **environment = arguments + stack[0] + 1;
    for (; *environment; environment++) {
        for (int i = 0; i < 5; i++) {
            size_t j = 0;
            while (names[i][j] && (*environment)[j] == names[i][j]) j++;
            if (!names[i][j]) values[i] = *environment + j;
        }
    }
    const char *command = values[0];
    int isLoopback = stack[0] > 0 && (equal(arguments[0], "loopback") || ends_with(arguments[0], "/loopback"));
    if (!command[0]) fail(CODE_BAD_ENVIRONMENT, "CNI_COMMAND is not set", "this is a CNI plugin: the container runtime calls it");
    read_configuration();
    if (equal(command, "VERSION")) answer_version();
    if (!equal(command, "ADD") && !equal(command, "DEL") && !equal(command, "CHECK") && !equal(command, "GC") && !equal(command, "STATUS")) fail(CODE_BAD_ENVIRONMENT, "unknown CNI_COMMAND", command);
    if (isLoopback) run_loopback(command, values[2]);

    char path[UNIX_PATH];
    /* A configuration that was written for flannel knows nothing of a socket. */
    if (!find_text("\"socketPath\"", path, sizeof path)) memcpy(path, DEFAULT_SOCKET, sizeof DEFAULT_SOCKET);
    uint32_t code = 0;
    if (ask_agent(path, values, 5, &code) == 0) finish((int)code);
    if (equal(command, "DEL")) delete_alone(values[2], values[3]);
    fail(equal(command, "STATUS") ? CODE_NOT_AVAILABLE : CODE_TRY_AGAIN, "the network agent does not answer: is k3sfast running?", path);
}
