/*
 * core/err.c - texts of error codes, the kernel's and ours.
 *
 * Called by whoever shows a failure to people. Never logs.
 */
#include <stdarg.h>

#include "core/err.h"

static const char *
err_text_own(int code)
{
    switch ((enum err)code) {
    case ERR_SYNTAX:
        return "syntax error";
    case ERR_LIMIT:
        return "limit reached";
    case ERR_CORRUPT:
        return "stored data is damaged";
    case ERR_VERSION:
        return "written by a newer version";
    case ERR_CLOSED:
        return "connection closed by the other side";
    case ERR_TIMEOUT:
        return "timed out";
    case ERR_FULL:
        return "no space left for this";
    case ERR_NOTFOUND:
        return "not found";
    case ERR_EXISTS:
        return "exists already";
    case ERR_REFUSED:
        return "refused by policy";
    case ERR_STATE:
        return "not possible in this state";
    case ERR_STALE:
        return "reference is out of date";
    case ERR_TLS:
        return "TLS failure";
    case ERR_DNS:
        return "no usable DNS answer";
    case ERR_NOMEM:
        return "out of memory";
    case ERR_UNSUPPORTED:
        return "not supported";
    case ERR_TOOBIG:
        return "too large to be taken, now or later";
    }
    return NULL;
}

const char *
err_text(int code)
{
    const char *text;

    if (code >= 0)
        return "success";
    text = err_text_own(code);
    if (!text && code > -1000)
        text = strerrordesc_np(-code); /* static storage, unlike strerror */
    return text ? text : "unknown error";
}

int
why_set(struct why *why, int code, const char *fmt, ...)
{
    va_list ap;

    if (!why)
        return code;
    va_start(ap, fmt);
    if (vsnprintf(why->text, sizeof(why->text), fmt, ap) < 0)
        why->text[0] = '\0';
    va_end(ap);
    return code;
}
