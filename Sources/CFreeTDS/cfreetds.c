#include "cfreetds.h"

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sybdb.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

// Seconds that a server may take to answer an attention.
#define PATIENCE 5

#define FUNCTIONS(each)                                                                                              \
    each(dbanydatecrack) each(dbcancel) each(dbclose) each(dbcmd) each(dbcoltype) each(dbconvert) each(dbdata)         \
    each(dbdatlen) each(dbdead) each(dberrhandle) each(dbfreebuf) each(dbinit) each(dbiordesc) each(dblogin)           \
    each(dbloginfree) each(dbmsghandle) each(dbnextrow) each(dbnumcols) each(dbresults) each(dbsetlname)               \
    each(dbsetlogintime) each(dbsetlversion) each(dbsettime) each(dbsqlok) each(dbsqlsend) each(tdsdbopen)

// The library's functions, once it is loaded.
static struct {
#define DECLARED(name) __typeof__(name) *name;
    FUNCTIONS(DECLARED)
} library;

struct cfreetds_connection {
    DBPROCESS *process;
    cfreetds_message failure;
    // When the call has to be over, by CLOCK_MONOTONIC; 0 for never.
    int64_t deadline;
    // Since when an answer to an attention is waited for; 0 while none is.
    int64_t cancelled_since;
    atomic_bool is_interrupted;
    // Readable once it is interrupted.
    int interruption;
};

// The library calls its handlers on the thread that has called it.
static _Thread_local cfreetds_connection *current;

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static void note(cfreetds_message *failure, enum cfreetds_source source, int number, int severity, int state, int line,
                 const char *text) {
    failure->source = source;
    failure->number = number;
    failure->severity = severity;
    failure->state = state;
    failure->line = line;
    snprintf(failure->text, sizeof failure->text, "%s", text ? text : "");
}

// Why the call has to end now, if it has to.
static enum cfreetds_source limit(const cfreetds_connection *connection) {
    if (atomic_load(&connection->is_interrupted)) return CFREETDS_INTERRUPTED;
    if (connection->deadline && now() >= connection->deadline) return CFREETDS_TIMED_OUT;
    return CFREETDS_NOBODY;
}

static void note_limit(cfreetds_connection *connection, enum cfreetds_source source) {
    if (connection->failure.source == CFREETDS_TIMED_OUT || connection->failure.source == CFREETDS_INTERRUPTED) return;
    note(&connection->failure, source, SYBETIME, 6, 0, 0,
         source == CFREETDS_TIMED_OUT ? "the time limit has passed" : "the call was given up");
}

static int message_came(DBPROCESS *process, DBINT number, int state, int severity, char *text, char *server,
                        char *procedure, int line) {
    (void)process, (void)server, (void)procedure;
    cfreetds_connection *connection = current;
    if (!connection || severity <= 10) return 0;
    cfreetds_message *failure = &connection->failure;
    // What ends the call stays the reason; else the gravest, and of those the first.
    if (failure->source == CFREETDS_TIMED_OUT || failure->source == CFREETDS_INTERRUPTED) return 0;
    if (failure->source == CFREETDS_SERVER && failure->severity >= severity) return 0;
    note(failure, CFREETDS_SERVER, number, severity, state, line, text);
    return 0;
}

static int error_came(DBPROCESS *process, int severity, int number, int system_error, char *text, char *system_text) {
    (void)process;
    cfreetds_connection *connection = current;
    if (!connection) return INT_CANCEL;
    if (number == SYBETIME && connection->process) {
        // Comes each second in which nothing has come from the server. Once an attention is sent, it has some time to answer that.
        if (connection->cancelled_since) {
            return now() - connection->cancelled_since < PATIENCE * 1000 ? INT_CONTINUE : INT_CANCEL;
        }
        enum cfreetds_source reason = limit(connection);
        if (reason == CFREETDS_NOBODY) return INT_CONTINUE;
        note_limit(connection, reason);
        connection->cancelled_since = now();
        return INT_TIMEOUT;
    }
    // "Check messages from the SQL Server" comes with each of these; and the first word is the most exact.
    if (number != SYBESMSG && connection->failure.source == CFREETDS_NOBODY) {
        char whole[sizeof connection->failure.text];
        int has_reason = system_error != DBNOERR && system_error != 0 && system_text && *system_text;
        snprintf(whole, sizeof whole, has_reason ? "%s (%s)" : "%s", text ? text : "", system_text);
        note(&connection->failure, CFREETDS_LIBRARY, number, severity, 0, 0, whole);
    }
    return INT_CANCEL;
}

static const char *problem;

static void load(void) {
    void *handle = dlopen("libsybdb.so.5", RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        problem = strdup(dlerror());
        return;
    }
#define LOADED(name)                                                                                                 \
    if (!(library.name = (__typeof__(library.name))dlsym(handle, #name))) {                                            \
        problem = "libsybdb.so.5 has no function " #name;                                                              \
        return;                                                                                                        \
    }
    FUNCTIONS(LOADED)
    if (library.dbinit() != SUCCEED) {
        problem = "dbinit failed";
        return;
    }
    library.dberrhandle(error_came);
    library.dbmsghandle(message_came);
    // So often the library asks whether to go on waiting.
    library.dbsettime(1);
}

const char *cfreetds_load(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load);
    return problem;
}

cfreetds_connection *cfreetds_open(const cfreetds_login *login, cfreetds_message *failure) {
    cfreetds_connection *connection = calloc(1, sizeof *connection);
    LOGINREC *record = library.dblogin();
    memset(failure, 0, sizeof *failure);
    if (connection) connection->interruption = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!connection || !record || connection->interruption < 0) {
        note(failure, CFREETDS_LIBRARY, 0, 8, 0, 0, "out of memory or of descriptors");
        if (record) library.dbloginfree(record);
        free(connection);
        return NULL;
    }
    library.dbsetlname(record, login->user, DBSETUSER);
    library.dbsetlname(record, login->password, DBSETPWD);
    library.dbsetlname(record, login->database, DBSETDBNAME);
    library.dbsetlname(record, login->application, DBSETAPP);
    library.dbsetlname(record, "UTF-8", DBSETCHARSET);
    library.dbsetlversion(record, DBVERSION_74);
    library.dbsetlogintime(login->seconds);
    current = connection;
    connection->process = library.tdsdbopen(record, login->server, 0);
    current = NULL;
    library.dbloginfree(record);
    if (!connection->process) {
        *failure = connection->failure;
        if (failure->source == CFREETDS_NOBODY) note(failure, CFREETDS_LIBRARY, SYBEFCON, 9, 0, 0, "the connection failed");
        close(connection->interruption);
        free(connection);
        return NULL;
    }
    return connection;
}

void cfreetds_close(cfreetds_connection *connection) {
    current = connection;
    library.dbclose(connection->process);
    current = NULL;
    close(connection->interruption);
    free(connection);
}

const cfreetds_message *cfreetds_failure(const cfreetds_connection *connection) { return &connection->failure; }

const char *cfreetds_text(const cfreetds_message *message) { return message->text; }

int cfreetds_is_dead(const cfreetds_connection *connection) { return library.dbdead(connection->process); }

int cfreetds_is_stale(const cfreetds_connection *connection) {
    char byte;
    if (cfreetds_is_dead(connection)) return 1;
    ssize_t count = recv(library.dbiordesc(connection->process), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return count >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

void cfreetds_interrupt(cfreetds_connection *connection) {
    uint64_t one = 1;
    atomic_store(&connection->is_interrupted, 1);
    if (write(connection->interruption, &one, sizeof one) < 0) return;
}

void cfreetds_clear_interrupt(cfreetds_connection *connection) {
    uint64_t count;
    atomic_store(&connection->is_interrupted, 0);
    if (read(connection->interruption, &count, sizeof count) < 0) return;
}

// Waits until the server has begun to answer. Only here nothing of an answer can be in the library's own buffers.
static enum cfreetds_source await_answer(cfreetds_connection *connection) {
    struct pollfd waited[2] = {
        {.fd = library.dbiordesc(connection->process), .events = POLLIN},
        {.fd = connection->interruption, .events = POLLIN},
    };
    for (;;) {
        enum cfreetds_source reason = limit(connection);
        if (reason != CFREETDS_NOBODY) return reason;
        int64_t left = connection->deadline ? connection->deadline - now() : -1;
        int count = poll(waited, 2, left > INT32_MAX ? INT32_MAX : (int)left);
        if (count > 0 && waited[0].revents) return CFREETDS_NOBODY;
        if (count < 0 && errno != EINTR) return CFREETDS_NOBODY;
    }
}

// Ends a call that has failed.
static int failed(cfreetds_connection *connection) {
    if (connection->failure.source == CFREETDS_NOBODY) {
        note(&connection->failure, CFREETDS_LIBRARY, SYBEREAD, 9, 0, 0, "the connection was lost");
    }
    cfreetds_cancel(connection);
    current = NULL;
    return CFREETDS_FAILED;
}

// What has failed though the library says that it has not: it goes on after errors of single statements.
static int checked(cfreetds_connection *connection, int result) {
    if (connection->failure.source != CFREETDS_NOBODY) return failed(connection);
    current = NULL;
    return result;
}

// The next result that has columns: their number, 0 if there is none.
static int next_result(cfreetds_connection *connection) {
    for (;;) {
        RETCODE result = library.dbresults(connection->process);
        if (result == NO_MORE_RESULTS) return 0;
        if (result != SUCCEED) return CFREETDS_FAILED;
        int columns = library.dbnumcols(connection->process);
        if (columns > 0) return columns;
    }
}

int cfreetds_execute(cfreetds_connection *connection, const char *batch, int32_t seconds) {
    current = connection;
    memset(&connection->failure, 0, offsetof(cfreetds_message, text) + 1);
    connection->deadline = seconds > 0 ? now() + (int64_t)seconds * 1000 : 0;
    connection->cancelled_since = 0;
    // Given up before anything was sent.
    if (limit(connection) == CFREETDS_INTERRUPTED) {
        note_limit(connection, CFREETDS_INTERRUPTED);
        current = NULL;
        return CFREETDS_FAILED;
    }
    library.dbfreebuf(connection->process);
    if (library.dbcmd(connection->process, batch) != SUCCEED || library.dbsqlsend(connection->process) != SUCCEED) {
        return failed(connection);
    }
    enum cfreetds_source reason = await_answer(connection);
    if (reason != CFREETDS_NOBODY) {
        note_limit(connection, reason);
        return failed(connection);
    }
    if (library.dbsqlok(connection->process) != SUCCEED) return failed(connection);
    int columns = next_result(connection);
    if (columns == CFREETDS_FAILED) return failed(connection);
    return checked(connection, columns);
}

int cfreetds_next_row(cfreetds_connection *connection) {
    current = connection;
    // Past the rows of the first result, all the others are read and dropped.
    int is_first = 1;
    for (;;) {
        enum cfreetds_source reason = limit(connection);
        if (reason != CFREETDS_NOBODY) {
            note_limit(connection, reason);
            return failed(connection);
        }
        STATUS status = library.dbnextrow(connection->process);
        if (status == FAIL) return failed(connection);
        if (status == REG_ROW && is_first) return checked(connection, 1);
        if (status == NO_MORE_ROWS) {
            is_first = 0;
            int columns = next_result(connection);
            if (columns == CFREETDS_FAILED) return failed(connection);
            if (columns == 0) return checked(connection, 0);
        }
    }
}

int cfreetds_column_type(cfreetds_connection *connection, int column) {
    return library.dbcoltype(connection->process, column);
}

const void *cfreetds_value(cfreetds_connection *connection, int column, int32_t *length) {
    *length = library.dbdatlen(connection->process, column);
    return library.dbdata(connection->process, column);
}

int cfreetds_decimal(cfreetds_connection *connection, int type, const void *value, char *text, int32_t capacity) {
    if (capacity < 64) return CFREETDS_FAILED;
    return library.dbconvert(connection->process, type, value, -1, SYBCHAR, (BYTE *)text, -1);
}

int cfreetds_moment_of(cfreetds_connection *connection, int type, const void *value, cfreetds_moment *moment) {
    DBDATEREC2 fields;
    if (library.dbanydatecrack(connection->process, &fields, type, value) != SUCCEED) return CFREETDS_FAILED;
    *moment = (cfreetds_moment){
        .year = fields.dateyear,
        .month = fields.datemonth + 1,
        .day = fields.datedmonth,
        .hour = fields.datehour,
        .minute = fields.dateminute,
        .second = fields.datesecond,
        .nanosecond = fields.datensecond,
        .offset = fields.datetzone,
    };
    return 0;
}

void cfreetds_cancel(cfreetds_connection *connection) {
    current = connection;
    if (!cfreetds_is_dead(connection)) {
        if (!connection->cancelled_since) connection->cancelled_since = now();
        library.dbcancel(connection->process);
    }
    current = NULL;
}
