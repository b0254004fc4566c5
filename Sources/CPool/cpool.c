#define _GNU_SOURCE
#include "cpool.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { maximumDescriptors = 16 };

static int result(long value) { return value < 0 ? -errno : (int)value; }

int cpool_socketpair(int kind, int descriptors[2]) {
    return result(socketpair(AF_UNIX, kind | SOCK_CLOEXEC, 0, descriptors));
}

int cpool_pipe(int descriptors[2]) { return result(pipe2(descriptors, O_CLOEXEC)); }

int cpool_set_nonblocking(int descriptor) {
    int flags = fcntl(descriptor, F_GETFL);
    return flags < 0 ? -errno : result(fcntl(descriptor, F_SETFL, flags | O_NONBLOCK));
}

int cpool_duplicate(int descriptor) { return result(fcntl(descriptor, F_DUPFD_CLOEXEC, 5)); }

int cpool_send_descriptors(int socket, const void *bytes, size_t length, const int *descriptors, size_t count) {
    if (count > maximumDescriptors) return -EINVAL;
    struct iovec part = {.iov_base = (void *)bytes, .iov_len = length};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int) * maximumDescriptors)];
    } control;
    memset(&control, 0, sizeof control);
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    message.msg_control = control.space;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * count);
    memcpy(CMSG_DATA(header), descriptors, sizeof(int) * count);
    return result(sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL));
}

int cpool_pass_credentials(int socket) {
    int on = 1;
    return result(setsockopt(socket, SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
}

int cpool_accept_descriptor(int socket, int *descriptor, pid_t *sender) {
    *descriptor = -1;
    *sender = 0;
    char byte;
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int) * maximumDescriptors) + CMSG_SPACE(sizeof(struct ucred))];
    } control;
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    message.msg_control = control.space;
    message.msg_controllen = sizeof control;
    ssize_t received;
    do { received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC); } while (received < 0 && errno == EINTR);
    if (received <= 0) return result(received);
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET) continue;
        if (header->cmsg_type == SCM_CREDENTIALS) {
            struct ucred credentials;
            memcpy(&credentials, CMSG_DATA(header), sizeof credentials);
            *sender = credentials.pid;
        } else if (header->cmsg_type == SCM_RIGHTS) {
            size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            for (size_t index = 0; index < count; index++) {
                int number;
                memcpy(&number, CMSG_DATA(header) + index * sizeof(int), sizeof number);
                // A sender of more than one is not one of ours.
                if (*descriptor < 0) *descriptor = number; else close(number);
            }
        }
    }
    return 1;
}

int cpool_send_parts(
    int socket, const void *first, size_t firstLength, const void *second, size_t secondLength, const void *third,
    size_t thirdLength, const void *fourth, size_t fourthLength) {
    struct iovec parts[4] = {
        {(void *)first, firstLength}, {(void *)second, secondLength}, {(void *)third, thirdLength},
        {(void *)fourth, fourthLength}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 4};
    for (;;) {
        long sent = sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent >= 0 || errno != EINTR) return result(sent);
    }
}

static int receive(int socket, void *bytes, size_t capacity, int flags) {
    for (;;) {
        long received = recv(socket, bytes, capacity, flags | MSG_DONTWAIT);
        if (received >= 0 || errno != EINTR) return result(received);
    }
}

int cpool_receive(int socket, void *bytes, size_t capacity) { return receive(socket, bytes, capacity, 0); }

int cpool_peek(int socket, void *bytes, size_t capacity) { return receive(socket, bytes, capacity, MSG_PEEK); }

// Has everything from `first` on end with exec. Sockets of swift-nio, and what other libraries open, are not close-on-exec by themselves.
static void close_on_exec(unsigned first) {
    if (syscall(SYS_close_range, first, ~0u, CLOSE_RANGE_CLOEXEC) == 0) return;
    // Kernels before 5.11. Descriptors are given out from the lowest on, and the agent has few.
    for (int descriptor = (int)first; descriptor < 65536; descriptor++) fcntl(descriptor, F_SETFD, FD_CLOEXEC);
}

// Runs between fork and exec in a process that had threads: async-signal-safe calls only.
static void become(
    const char *path, char *const argv[], char *const envp[], const int standard[3], const int *inherited,
    size_t inheritedCount, int failure, pid_t parent) {
    int moved[3 + maximumDescriptors];
    size_t count = 3 + inheritedCount;
    // First out of the way of the numbers that they are to have, so that no dup2 overwrites one still needed.
    failure = fcntl(failure, F_DUPFD_CLOEXEC, (int)count + 1);
    for (size_t index = 0; index < count; index++) {
        int source = index < 3 ? standard[index] : inherited[index - 3];
        moved[index] = fcntl(source, F_DUPFD_CLOEXEC, (int)count + 1);
        if (moved[index] < 0) goto failed;
    }
    for (size_t index = 0; index < count; index++) {
        if (dup2(moved[index], (int)index) < 0) goto failed;
    }
    close_on_exec((unsigned)count);
    struct sigaction standardAction;
    memset(&standardAction, 0, sizeof standardAction);
    standardAction.sa_handler = SIG_DFL;
    for (int number = 1; number < NSIG; number++) sigaction(number, &standardAction, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setsid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    // The parent may have died before the line above.
    if (getppid() != parent) _exit(127);
    execve(path, argv, envp);
failed:;
    int reason = errno;
    ssize_t ignored = write(failure, &reason, sizeof reason);
    (void)ignored;
    _exit(127);
}

int cpool_spawn(
    const char *path, char *const argv[], char *const envp[], const int standard[3], const int *inherited,
    size_t inheritedCount, pid_t *pid) {
    if (inheritedCount > maximumDescriptors) return -EINVAL;
    int failure[2];
    if (pipe2(failure, O_CLOEXEC) < 0) return -errno;
    pid_t parent = getpid();
    sigset_t all, previous;
    sigfillset(&all);
    // No handler of the caller's may run in the child.
    sigprocmask(SIG_SETMASK, &all, &previous);
    pid_t child = fork();
    if (child == 0) become(path, argv, envp, standard, inherited, inheritedCount, failure[1], parent);
    int reason = child < 0 ? errno : 0;
    sigprocmask(SIG_SETMASK, &previous, NULL);
    close(failure[1]);
    if (child > 0) {
        ssize_t length;
        do { length = read(failure[0], &reason, sizeof reason); } while (length < 0 && errno == EINTR);
        if (length != (ssize_t)sizeof reason) reason = 0;
        if (reason != 0) while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {}
    }
    close(failure[0]);
    if (reason != 0) return -reason;
    *pid = child;
    return 0;
}

int cpool_reap(pid_t pid, int *status) {
    for (;;) {
        pid_t reaped = waitpid(pid, status, WNOHANG);
        if (reaped >= 0) return reaped == pid ? 1 : 0;
        if (errno != EINTR) return -errno;
    }
}

int cpool_pidfd_open(pid_t pid) { return result(syscall(SYS_pidfd_open, pid, 0)); }

int cpool_pidfd_signal(int descriptor, int signal) {
    return result(syscall(SYS_pidfd_send_signal, descriptor, signal, NULL, 0));
}

uint64_t cpool_uptime(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
