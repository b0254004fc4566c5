// The few system calls of the Python pool that Swift can't express: variadic ones, control messages and fork.
// Every function returns a value >= 0, or -errno.

#ifndef CPOOL_H
#define CPOOL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// A pair of connected Unix sockets, close-on-exec. `kind` is SOCK_STREAM or SOCK_SEQPACKET.
int cpool_socketpair(int kind, int descriptors[2]);

/// A pipe, close-on-exec: reading end first.
int cpool_pipe(int descriptors[2]);

/// Sets O_NONBLOCK on the open file description.
int cpool_set_nonblocking(int descriptor);

/// A duplicate descriptor, close-on-exec.
int cpool_duplicate(int descriptor);

/// Sends one message of `length` bytes with `count` descriptors (at most 16), without blocking.
int cpool_send_descriptors(int socket, const void *bytes, size_t length, const int *descriptors, size_t count);

/// Waits for a message that carries one descriptor, and tells the process that sent it. 0 means that nobody can send any more.
int cpool_accept_descriptor(int socket, int *descriptor, pid_t *sender);

/// Has messages tell their sender's process number.
int cpool_pass_credentials(int socket);

/// Sends one message made of four parts, without blocking and without SIGPIPE.
int cpool_send_parts(
    int socket, const void *first, size_t firstLength, const void *second, size_t secondLength, const void *third,
    size_t thirdLength, const void *fourth, size_t fourthLength);

/// Receives one message, without blocking. 0 means the end of the stream.
int cpool_receive(int socket, void *bytes, size_t capacity);

/// Reads the beginning of a message and leaves the message where it is, without blocking.
int cpool_peek(int socket, void *bytes, size_t capacity);

/// Starts a program in a session of its own. `standard` are the child's descriptors 0, 1, 2; `inherited` become 3, 4, …
/// None of the caller's other descriptors is inherited. The child is killed when the calling thread ends.
int cpool_spawn(
    const char *path, char *const argv[], char *const envp[], const int standard[3], const int *inherited,
    size_t inheritedCount, pid_t *pid);

/// Reaps `pid` if it has ended: 1 and its wait status, or 0 while it runs.
int cpool_reap(pid_t pid, int *status);

/// A descriptor that names a process for certain, whatever becomes of its number.
int cpool_pidfd_open(pid_t pid);

/// Sends a signal to the process that `descriptor` names.
int cpool_pidfd_signal(int descriptor, int signal);

/// CLOCK_MONOTONIC in nanoseconds.
uint64_t cpool_uptime(void);

#endif
