/*
 * The log: one line a message, "2026-01-31T12:00:00.123Z level subsystem: text", to stderr or to
 * the file of -D.  Thread-safe; a message is one write().  Libraries that return errors do not log
 * them.
 */
#ifndef GODWIT_BASE_LOG_H
#define GODWIT_BASE_LOG_H

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_set_level(enum log_level level);
/* Appends to the file at path from now on; 0 or -errno (the log stays where it was). */
int log_open(const char *path);
void log_msg(enum log_level level, const char *subsystem, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define log_error(sub, ...) log_msg(LOG_LEVEL_ERROR, sub, __VA_ARGS__)
#define log_warn(sub, ...)  log_msg(LOG_LEVEL_WARN, sub, __VA_ARGS__)
#define log_info(sub, ...)  log_msg(LOG_LEVEL_INFO, sub, __VA_ARGS__)
#define log_debug(sub, ...) log_msg(LOG_LEVEL_DEBUG, sub, __VA_ARGS__)

#endif
