/*
 * Between the daemon and its ledger: loaded before the C library of the very binary under test, this stops
 * it right before and right after each transaction, and asks the test whether it goes on.
 *
 * SQLite takes the write lock of a write-ahead log as a lock on byte 120 of the -shm file before the first
 * frame of a transaction is written, and gives it back once the last one is durable. So what is asked with
 * 'b' has nothing of the transaction on disk, and what is asked with 'a' has all of it.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void ask(char moment) {
    const char *path = getenv("STEADFAST_TEST_GATE");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int before = errno, test = -1;
    if (path && strlen(path) < sizeof address.sun_path) test = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (test >= 0) {
        strcpy(address.sun_path, path);
        /* Who is not there any more stops nobody. */
        if (connect(test, (struct sockaddr *)&address, sizeof address) == 0 &&
            send(test, &moment, 1, MSG_NOSIGNAL) == 1) {
            while (read(test, &moment, 1) < 0 && errno == EINTR) {
            }
        }
        close(test);
    }
    errno = before;
}

typedef int control(int, int, ...);

static int pass(control *real, int fd, int command, void *argument) {
    const struct flock *lock = argument;
    int is_ours = (command == F_SETLK || command == F_SETLKW) && lock && lock->l_whence == SEEK_SET &&
                  lock->l_start == 120 && lock->l_len == 1;
    if (is_ours && lock->l_type == F_WRLCK) ask('b');
    int is_given_back = is_ours && lock->l_type == F_UNLCK;
    int result = real(fd, command, argument);
    if (is_given_back) ask('a');
    return result;
}

#define STAND_BEFORE(name)                                         \
    int name(int fd, int command, ...) {                           \
        static control *real;                                      \
        va_list more;                                              \
        va_start(more, command);                                   \
        void *argument = va_arg(more, void *);                     \
        va_end(more);                                              \
        if (!real) real = (control *)dlsym(RTLD_NEXT, #name);      \
        return pass(real, fd, command, argument);                  \
    }

STAND_BEFORE(fcntl)
STAND_BEFORE(fcntl64)
