/* echo: sends back what it is sent, over loopback (environments.py builds it).
 *
 *     echo
 *
 * Prints the port that it listens on, serves any number of connections that its limit of open files
 * permits, and ends when stdin does. A connection that has ended is reset, so that neither side
 * keeps its port for a minute.
 *
 * One thread and epoll: a line there and back costs it some microseconds, most of them in the
 * kernel.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_EVENTS 512
#define BUFFER 65536 /* bytes */

static _Noreturn void
fail(const char *what)
{
    fprintf(stderr, "echo: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void
raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void
watch(int epoll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        fail("cannot watch a descriptor");
    }
}

/* A socket that listens on a port of the system's choice, which is printed. */
static int
listening(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) != 0 || listen(fd, SOMAXCONN) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
        fail("cannot listen");
    }
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void
accept_all(int epoll, int from)
{
    for (;;) {
        int fd = accept4(from, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) {
                return;
            }
            fail("cannot accept");
        }
        int yes = 1;
        struct linger reset = {.l_onoff = 1, .l_linger = 0};
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        watch(epoll, fd);
    }
}

/* Clients wait for each answer, so that what they are sent always fits into the socket. */
static void
echo(int fd)
{
    static char buffer[BUFFER];
    ssize_t got = recv(fd, buffer, sizeof(buffer), 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (got <= 0 || send(fd, buffer, (size_t)got, MSG_NOSIGNAL) != got) {
        close(fd);
    }
}

int
main(void)
{
    raise_file_limit();
    int epoll = epoll_create1(EPOLL_CLOEXEC), from = listening();
    if (epoll < 0) {
        fail("no epoll");
    }
    watch(epoll, from);
    watch(epoll, STDIN_FILENO);
    for (;;) {
        struct epoll_event events[MAX_EVENTS];
        int count = epoll_wait(epoll, events, MAX_EVENTS, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == STDIN_FILENO) {
                return 0;
            }
            else if (fd == from) {
                accept_all(epoll, from);
            }
            else {
                echo(fd);
            }
        }
    }
}
