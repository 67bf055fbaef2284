/* UDP for images made of busybox, which has none: "udpecho serve PORT NAME" answers every datagram with NAME and what came;
   "udpecho ask ADDRESS PORT TEXT" sends one datagram, prints the answer, and fails after two seconds without one. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

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

int main(int argc, char **argv)
{
    if (argc == 4 && !strcmp(argv[1], "serve")) return serve(atoi(argv[2]), argv[3]);
    if (argc == 5 && !strcmp(argv[1], "ask")) return ask(argv[2], atoi(argv[3]), argv[4]);
    return 2;
}
