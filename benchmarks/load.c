/* load: drives an HTTP/1.1 server on loopback, and says how it did (environments.py builds it).
 *
 *     load PORT WARM SECONDS PATH CONNECTIONS INTERVAL [PATH CONNECTIONS INTERVAL]...
 *
 * Each connection of a path sends a GET request, waits for the answer, and sends the next: at once
 * where INTERVAL is 0, else when so many microseconds have passed since the last was due. A request
 * counts from when it was due, so that a server which is late makes the next ones late, too, and
 * not fewer. Answers of the first WARM seconds do not count.
 *
 * Prints a line of JSON for each path: how many answers came in SECONDS seconds, and the
 * milliseconds that each took. Any answer but a 200 with a Content-Length, a connection that ends
 * and a server that says nothing for PATIENCE seconds end it with status 1 and a line on stderr.
 *
 * One thread that sleeps in ppoll(): a request costs it some microseconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNECTIONS 64
#define MAX_PATHS 8
#define MAX_ANSWER 4096 /* bytes, headers and all */
#define PATIENCE 30.0   /* seconds */

struct path {
    char request[256];
    size_t length;
    double interval; /* seconds; 0: the next request follows the answer */
    double *taken;   /* milliseconds of each answer that counts */
    size_t count, room;
};

struct connection {
    struct path *path;
    int fd;
    bool waiting;  /* for an answer */
    double due;    /* when the request was to be sent, or the next is to be */
    double sent;   /* when it was */
    size_t filled; /* bytes of `answer` */
    char answer[MAX_ANSWER];
};

static struct path paths[MAX_PATHS];
static struct connection connections[MAX_CONNECTIONS];
static size_t path_count, connection_count;

static _Noreturn void
fail(const char *what, const char *path)
{
    fprintf(stderr, "load: %s (%s)\n", what, path);
    exit(1);
}

static double
now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* `text` as a number that is not negative. */
static double
number(const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= 0)) {
        fail("not a number", text);
    }
    return value;
}

static int
connected(const struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof(*address)) != 0) {
        fail("cannot connect", strerror(errno));
    }
    int yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    return fd;
}

/* Three arguments of the command line: a path, and its connections. */
static void
add_path(char **arguments, const struct sockaddr_in *address)
{
    if (path_count == MAX_PATHS) {
        fail("too many paths", arguments[0]);
    }
    struct path *path = &paths[path_count++];
    int length = snprintf(path->request, sizeof(path->request),
                          "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", arguments[0]);
    if (length < 0 || (size_t)length >= sizeof(path->request)) {
        fail("too long", arguments[0]);
    }
    path->length = (size_t)length;
    path->interval = number(arguments[2]) * 1e-6;
    for (double wanted = number(arguments[1]); wanted > 0; wanted--) {
        if (connection_count == MAX_CONNECTIONS) {
            fail("too many connections", arguments[0]);
        }
        struct connection *connection = &connections[connection_count++];
        connection->path = path;
        connection->fd = connected(address);
    }
}

static void
send_request(struct connection *connection)
{
    const struct path *path = connection->path;
    connection->waiting = true;
    connection->filled = 0;
    connection->sent = now();
    /* So few bytes on an idle connection are taken whole. */
    if (send(connection->fd, path->request, path->length, MSG_NOSIGNAL) != (ssize_t)path->length) {
        fail("cannot send", path->request);
    }
}

/* Whether the whole answer is there; fails if it is none that counts. */
static bool
is_answered(struct connection *connection)
{
    static const char good[] = "HTTP/1.1 200 ", field[] = "\r\ncontent-length:";
    char *text = connection->answer;
    text[connection->filled] = '\0';
    char *body = strstr(text, "\r\n\r\n");
    if (body == NULL) {
        if (connection->filled == MAX_ANSWER - 1) {
            fail("the answer is too long", connection->path->request);
        }
        return false;
    }
    if (strncmp(text, good, sizeof(good) - 1) != 0) {
        *strchr(text, '\r') = '\0';
        fail(text, connection->path->request);
    }
    const char *length = strcasestr(text, field);
    if (length == NULL || length > body) {
        fail("an answer without Content-Length", connection->path->request);
    }
    size_t wanted = (size_t)(body - text) + 4 + strtoul(length + sizeof(field) - 1, NULL, 10);
    if (wanted >= MAX_ANSWER || connection->filled > wanted) {
        fail("the answer is too long", connection->path->request);
    }
    return connection->filled == wanted;
}

static void
note(struct path *path, double milliseconds)
{
    if (path->count == path->room) {
        path->room = path->room * 2 + 1024;
        path->taken = realloc(path->taken, path->room * sizeof(*path->taken));
        if (path->taken == NULL) {
            fail("no memory", path->request);
        }
    }
    path->taken[path->count++] = milliseconds;
}

/* Reads what is there; if it ends the answer, sees to the next request. */
static void
receive(struct connection *connection, double counted_from, double until)
{
    ssize_t got = recv(connection->fd, connection->answer + connection->filled,
                       MAX_ANSWER - 1 - connection->filled, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (got <= 0) {
        fail("the server has closed a connection", connection->path->request);
    }
    connection->filled += (size_t)got;
    if (!is_answered(connection)) {
        return;
    }
    struct path *path = connection->path;
    double time = now();
    if (time >= counted_from && time < until) {
        note(path, (time - connection->due) * 1e3);
    }
    connection->waiting = false;
    connection->due = path->interval > 0 ? connection->due + path->interval : time;
}

/* Sends what is due; returns when something is due again, at the latest `until`. */
static double
send_due(double until)
{
    double next = until;
    for (size_t i = 0; i < connection_count; i++) {
        struct connection *connection = &connections[i];
        double time = now();
        if (connection->waiting) {
            if (time - connection->sent > PATIENCE) {
                fail("no answer", connection->path->request);
            }
        }
        else if (connection->due <= time) {
            send_request(connection);
        }
        else if (connection->due < next) {
            next = connection->due;
        }
    }
    return next;
}

static void
drive(double warm, double seconds)
{
    struct pollfd polled[MAX_CONNECTIONS];
    double start = now(), until = start + warm + seconds;
    for (size_t i = 0; i < connection_count; i++) {
        /* Those with an interval are not all due at the same moment. */
        double part = (double)i / (double)connection_count;
        connections[i].due = start + connections[i].path->interval * part;
        polled[i] = (struct pollfd){.fd = connections[i].fd, .events = POLLIN};
    }
    while (now() < until) {
        double left = send_due(until) - now();
        left = left < 0 ? 0 : left < 1 ? left : 1; /* awake now and then, for PATIENCE */
        struct timespec time = {(time_t)left, (long)((left - (double)(time_t)left) * 1e9)};
        if (ppoll(polled, connection_count, &time, NULL) < 0 && errno != EINTR) {
            fail("cannot poll", strerror(errno));
        }
        for (size_t i = 0; i < connection_count; i++) {
            if (polled[i].revents != 0) {
                receive(&connections[i], start + warm, until);
            }
        }
    }
}

int
main(int count, char **arguments)
{
    if (count < 7 || (count - 4) % 3 != 0) {
        fail("PORT WARM SECONDS PATH CONNECTIONS INTERVAL ...", "usage");
    }
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((in_port_t)number(arguments[1])),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    for (int i = 4; i < count; i += 3) {
        add_path(arguments + i, &address);
    }
    drive(number(arguments[2]), number(arguments[3]));
    for (size_t i = 0; i < path_count; i++) {
        printf("[");
        for (size_t n = 0; n < paths[i].count; n++) {
            printf("%s%.4f", n > 0 ? ", " : "", paths[i].taken[n]);
        }
        printf("]\n");
    }
    return 0;
}
