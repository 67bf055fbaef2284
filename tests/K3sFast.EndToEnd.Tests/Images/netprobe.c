/* What busybox-static cannot do: UDP, and looking names up (a static glibc has no resolver). Built with musl, which has.
   netprobe serve PORT NAME        answers every datagram with NAME and what came
   netprobe ask ADDRESS PORT TEXT  sends one datagram and prints the answer
   netprobe follow ADDRESS PORT    goes on sending datagrams from one port, and prints who answers whenever it is somebody else
   netprobe get HOST PORT [SECONDS]  prints the body of GET / from a host by name or address
   ask and get fail after two seconds without an answer, get after as many as it is told. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static int serve(int port, const char *name)
{
    struct sockaddr_in own = { .sin_family = AF_INET, .sin_port = htons(port) }, peer;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (bind(fd, (struct sockaddr *)&own, sizeof own)) { perror("bind"); return 1; }
    for (;;) {
        char query[1024], answer[2048];
        socklen_t size = sizeof peer;
        ssize_t n = recvfrom(fd, query, sizeof query - 1, 0, (struct sockaddr *)&peer, &size);
        if (n < 0) continue;
        query[n] = 0;
        int length = snprintf(answer, sizeof answer, "%s %s", name, query);
        sendto(fd, answer, length, 0, (struct sockaddr *)&peer, size);
    }
}

static int ask(const char *address, int port, const char *text)
{
    struct sockaddr_in peer = { .sin_family = AF_INET, .sin_port = htons(port) };
    struct timeval patience = { .tv_sec = 2 };
    char answer[2048];
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    inet_pton(AF_INET, address, &peer.sin_addr);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&peer, sizeof peer) || send(fd, text, strlen(text), 0) < 0) { perror("send"); return 1; }
    ssize_t n = recv(fd, answer, sizeof answer - 1, 0);
    if (n < 0) { perror("recv"); return 1; }
    answer[n] = 0;
    puts(answer);
    return 0;
}

static int follow(const char *address, int port)
{
    struct sockaddr_in peer = { .sin_family = AF_INET, .sin_port = htons(port) };
    struct timeval patience = { .tv_usec = 100000 };
    char answer[2048], last[2048] = "";
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    inet_pton(AF_INET, address, &peer.sin_addr);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&peer, sizeof peer)) { perror("connect"); return 1; }
    for (;;) {
        /* Nobody there at the moment: asked again. */
        if (send(fd, "?", 1, 0) < 0) { usleep(patience.tv_usec); continue; }
        ssize_t n = recv(fd, answer, sizeof answer - 1, 0);
        if (n < 0) continue;
        answer[n] = 0;
        if (strcmp(answer, last)) { puts(answer); fflush(stdout); strcpy(last, answer); }
        usleep(patience.tv_usec);
    }
}

static int get(const char *host, const char *port, int seconds)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found;
    struct timeval patience = { .tv_sec = seconds };
    char request[512], answer[65536], *body;
    size_t size = 0;
    ssize_t n;
    int error = getaddrinfo(host, port, &hints, &found);
    if (error) { fprintf(stderr, "%s: %s\n", host, gai_strerror(error)); return 1; }
    int fd = socket(found->ai_family, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, found->ai_addr, found->ai_addrlen)) { perror("connect"); return 1; }
    n = snprintf(request, sizeof request, "GET / HTTP/1.0\r\nHost: %s\r\n\r\n", host);
    if (write(fd, request, n) != n) { perror("write"); return 1; }
    while (size < sizeof answer - 1 && (n = read(fd, answer + size, sizeof answer - 1 - size)) > 0) size += n;
    answer[size] = 0;
    body = strstr(answer, "\r\n\r\n");
    if (!body || strncmp(answer, "HTTP/1.", 7) || strncmp(answer + 8, " 200", 4)) { fprintf(stderr, "no answer: %s\n", answer); return 1; }
    fputs(body + 4, stdout);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && !strcmp(argv[1], "serve")) return serve(atoi(argv[2]), argv[3]);
    if (argc == 5 && !strcmp(argv[1], "ask")) return ask(argv[2], atoi(argv[3]), argv[4]);
    if (argc == 4 && !strcmp(argv[1], "follow")) return follow(argv[2], atoi(argv[3]));
    if (argc == 4 && !strcmp(argv[1], "get")) return get(argv[2], argv[3], 2);
    if (argc == 5 && !strcmp(argv[1], "get")) return get(argv[2], argv[3], atoi(argv[4]));
    return 2;
}
