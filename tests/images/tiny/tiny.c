/*
 * tiny: a static HTTP server that behaves as badly as it is told to.
 *
 * Lives here: the program of the steadfast-test/tiny image. What it serves depends on
 * VERSION (baked into the image) and on a few environment variables, so that one binary is
 * every release of a test: good, bad from the start, turning bad, crashing, slow to start,
 * deaf to SIGTERM. One process accepts; each connection gets a child, so that an endless
 * answer never delays a health check.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double started;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static const char *env(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

static void nap(double seconds) {
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (nanosleep(&t, &t) && errno == EINTR) {
    }
}

static void leave(int signal) {
    (void)signal;
    _exit(0);
}

/* PID 1 gets no default action for signals: without a handler SIGTERM would do nothing. */
static void handle_signals(void) {
    int deaf = atoi(env("IGNORE_TERM", "0"));
    signal(SIGTERM, deaf ? SIG_IGN : leave);
    signal(SIGINT, deaf ? SIG_IGN : leave);
    signal(SIGQUIT, deaf ? SIG_IGN : leave);
    signal(SIGCHLD, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
}

static int healthy(void) {
    const char *fail_after = getenv("FAIL_AFTER");
    if (strcmp(env("VERSION", "dev"), "bad") == 0) return 0;
    return !(fail_after && *fail_after && now() - started >= atof(fail_after));
}

static int send_all(int fd, const char *data, size_t length) {
    while (length > 0) {
        ssize_t n = write(fd, data, length);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return -1;
        data += n;
        length -= (size_t)n;
    }
    return 0;
}

__attribute__((format(printf, 4, 5))) static int answer(int fd, const char *status, const char *extra,
                                                         const char *format, ...) {
    char body[4096], head[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(body, sizeof body, format, arguments);
    va_end(arguments);
    if (length < 0) return -1;
    if ((size_t)length >= sizeof body) length = sizeof body - 1;
    int n = snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n%s\r\n",
                     status, length, extra);
    if (send_all(fd, head, (size_t)n)) return -1;
    return send_all(fd, body, (size_t)length);
}

static int route(int fd, const char *path) {
    if (strcmp(path, "/health") == 0)
        return healthy() ? answer(fd, "200 OK", "", "ok\n") : answer(fd, "500 Internal Server Error", "", "failing\n");
    if (strcmp(path, "/version") == 0 || strcmp(path, "/") == 0)
        return answer(fd, "200 OK", "", "%s\n", env("VERSION", "dev"));
    if (strncmp(path, "/env?k=", 7) == 0)
        return getenv(path + 7) ? answer(fd, "200 OK", "", "set\n") : answer(fd, "404 Not Found", "", "unset\n");
    if (strcmp(path, "/hostname") == 0) {
        char name[256] = "";
        gethostname(name, sizeof name - 1);
        return answer(fd, "200 OK", "", "%s\n", name);
    }
    if (strcmp(path, "/slow") == 0) {
        nap(atof(env("SLOW", "30")));
        return answer(fd, "200 OK", "", "slow\n");
    }
    if (strcmp(path, "/silent") == 0) {
        for (;;) pause();
    }
    if (strcmp(path, "/loop") == 0) return answer(fd, "302 Found", "Location: /loop\r\n", "again\n");
    if (strcmp(path, "/endless") == 0) {
        static char block[65536];
        memset(block, 'x', sizeof block);
        static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n";
        if (send_all(fd, head, sizeof head - 1)) return -1;
        while (send_all(fd, block, sizeof block) == 0) {
        }
        return -1;
    }
    return answer(fd, "404 Not Found", "", "no such page\n");
}

/* One connection, kept alive until the client closes it or asks for that. */
static void serve(int fd) {
    char request[8192];
    size_t have = 0;
    for (;;) {
        request[have] = 0;
        char *end = strstr(request, "\r\n\r\n");
        if (!end) {
            if (have >= sizeof request - 1) return;
            ssize_t n = read(fd, request + have, sizeof request - 1 - have);
            if (n < 0 && errno == EINTR) continue;
            if (n <= 0) return;
            have += (size_t)n;
            continue;
        }
        *end = 0;
        int close_after = strcasestr(request, "\r\nConnection: close") != NULL || strstr(request, " HTTP/1.0") != NULL;
        char method[16], path[1024];
        if (sscanf(request, "%15s %1023s", method, path) != 2) return;
        if (route(fd, path) || close_after) return;
        size_t used = (size_t)(end + 4 - request);
        memmove(request, request + used, have - used);
        have -= used;
    }
}

static int run_server(void) {
    const char *version = env("VERSION", "dev");
    if (strcmp(version, "crash") == 0) {
        fprintf(stderr, "tiny %s: crashing at once\n", version);
        return 1;
    }
    nap(atof(env("START_DELAY", "0")));
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((unsigned short)atoi(env("PORT", "8080"))),
                                  .sin_addr.s_addr = htonl(INADDR_ANY)};
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 128)) {
        perror("tiny: cannot listen");
        return 1;
    }
    const char *crash_after = getenv("CRASH_AFTER");
    if (crash_after && *crash_after && fork() == 0) {
        /* A timer that is not SIGALRM: sleeping children must not be woken by it. */
        nap(atof(crash_after));
        kill(getppid(), SIGUSR1);
        _exit(0);
    }
    printf("tiny %s: listening on %s\n", version, env("PORT", "8080"));
    fflush(stdout);
    for (;;) {
        int connection = accept(listener, NULL, NULL);
        if (connection < 0) continue;
        setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (fork() == 0) {
            close(listener);
            serve(connection);
            _exit(0);
        }
        close(connection);
    }
}

static void crash(int signal) {
    (void)signal;
    static const char words[] = "tiny: crashing as told\n";
    if (write(2, words, sizeof words - 1) < 0) _exit(2);
    _exit(1);
}

/* For HEALTHCHECK: 0 where /health answers 200, else 1. */
static int probe(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct timeval limit = {.tv_sec = 2};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((unsigned short)atoi(env("PORT", "8080"))),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    static const char request[] = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    char reply[64] = "";
    if (connect(fd, (struct sockaddr *)&address, sizeof address) || send_all(fd, request, sizeof request - 1) ||
        read(fd, reply, sizeof reply - 1) < 12) {
        printf("no answer\n");
        return 1;
    }
    int good = strncmp(reply, "HTTP/1.1 200", 12) == 0;
    printf("%s\n", good ? "ok" : "failing");
    return !good;
}

static int write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    if (!file || fprintf(file, "%s\n", text) < 0 || fclose(file)) {
        perror(path);
        return 1;
    }
    return 0;
}

static int read_file(const char *path) {
    FILE *file = fopen(path, "r");
    if (!file) {
        perror(path);
        return 1;
    }
    for (int c; (c = fgetc(file)) != EOF;) putchar(c);
    fclose(file);
    return 0;
}

int main(int count, char **words) {
    const char *command = count > 1 ? words[1] : "serve";
    started = now();
    handle_signals();
    signal(SIGUSR1, crash);
    if (strcmp(command, "serve") == 0) return run_server();
    if (strcmp(command, "probe") == 0) return probe();
    if (strcmp(command, "version") == 0) return puts(env("VERSION", "dev")) < 0;
    if (strcmp(command, "write") == 0 && count == 4) return write_file(words[2], words[3]);
    if (strcmp(command, "read") == 0 && count == 3) return read_file(words[2]);
    if (strcmp(command, "print") == 0 && count == 3) return puts(words[2]) < 0;
    if (strcmp(command, "sleep") == 0) {
        nap(count > 2 ? atof(words[2]) : 1e9);
        return 0;
    }
    if (strcmp(command, "exit") == 0) return count > 2 ? atoi(words[2]) : 0;
    fprintf(stderr, "usage: tiny [serve | probe | version | write FILE TEXT | read FILE | print TEXT | sleep [SECONDS] | exit [CODE]]\n");
    return 2;
}
