// FreeTDS's db-library, loaded when it is first needed: an agent whose project has no database pays nothing for it.
//
// A connection is used by one thread at a time; `cfreetds_interrupt` alone may be called by any. Functions that return an int give
// 0 or more, or CFREETDS_FAILED, after which `cfreetds_failure` tells why.

#ifndef CFREETDS_H
#define CFREETDS_H

#include <stddef.h>
#include <stdint.h>

#define CFREETDS_FAILED -1

typedef struct cfreetds_connection cfreetds_connection;

/// Who tells of a failure.
enum cfreetds_source {
    /// Nobody: there is none.
    CFREETDS_NOBODY = 0,
    /// The server: an error of a statement or of the login.
    CFREETDS_SERVER = 1,
    /// The library: mostly of the network.
    CFREETDS_LIBRARY = 2,
    /// The time limit of the call has passed.
    CFREETDS_TIMED_OUT = 3,
    /// `cfreetds_interrupt` was called.
    CFREETDS_INTERRUPTED = 4,
};

typedef struct {
    enum cfreetds_source source;
    int32_t number;
    int32_t severity;
    int32_t state;
    int32_t line;
    /// UTF-8, cut where it is too long.
    char text[4096];
} cfreetds_message;

typedef struct {
    /// `host:port`, or a name of FreeTDS's own configuration.
    const char *server;
    const char *database;
    const char *user;
    const char *password;
    const char *application;
    /// For the connection and the login together.
    int32_t seconds;
} cfreetds_login;

/// The fields of a date or a time; months and days from 1, the offset in minutes.
typedef struct {
    int32_t year, month, day, hour, minute, second, nanosecond, offset;
} cfreetds_moment;

/// Loads the library, once. The reason why it can't be, or NULL.
const char *cfreetds_load(void);

/// Connects and logs in; NULL where that fails, and then why. The library must have been loaded.
cfreetds_connection *cfreetds_open(const cfreetds_login *login, cfreetds_message *failure);

void cfreetds_close(cfreetds_connection *connection);

/// Why the last call has failed; valid until the next.
const cfreetds_message *cfreetds_failure(const cfreetds_connection *connection);

const char *cfreetds_text(const cfreetds_message *message);

/// Whether nothing can be sent any more.
int cfreetds_is_dead(const cfreetds_connection *connection);

/// Whether the other side has closed an idle connection, or says something where nothing was asked. Sends nothing.
int cfreetds_is_stale(const cfreetds_connection *connection);

/// Sends a batch and waits for its first result that has columns: their number, 0 if the batch has none. All of the call, its rows
/// included, ends after `seconds`; 0 is no limit.
int cfreetds_execute(cfreetds_connection *connection, const char *batch, int32_t seconds);

/// Reads the next row: 1, or 0 after the last, when also the further results of the batch have been read and dropped.
int cfreetds_next_row(cfreetds_connection *connection);

/// The type of a column, from 1, by FreeTDS's number.
int cfreetds_column_type(cfreetds_connection *connection, int column);

/// The value in the current row; NULL for SQL's NULL. Valid until the next row.
const void *cfreetds_value(cfreetds_connection *connection, int column, int32_t *length);

/// A numeric or decimal value as text, of which the length is returned.
int cfreetds_decimal(cfreetds_connection *connection, int type, const void *value, char *text, int32_t capacity);

/// The fields of a value of one of the types for dates and times.
int cfreetds_moment_of(cfreetds_connection *connection, int type, const void *value, cfreetds_moment *moment);

/// Gives up what runs: sends an attention and waits for its answer, for a few seconds. What can't be ended so is closed.
void cfreetds_cancel(cfreetds_connection *connection);

/// Has the call that runs in another thread fail soon.
void cfreetds_interrupt(cfreetds_connection *connection);

/// Takes an interruption back that came too late.
void cfreetds_clear_interrupt(cfreetds_connection *connection);

#endif
