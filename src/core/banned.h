/*
 * core/banned.h - libc calls that do not compile here: each has a bounded or typed replacement.
 */
#ifndef GAPURA_CORE_BANNED_H
#define GAPURA_CORE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#undef alloca /* a macro in glibc: poisoning it as one would warn */
/* Text: struct str, struct buf and snprintf. Numbers: str_u64 and kin. Processes: fork and exec. */
#pragma GCC poison strndup strcpy strcat strncpy strncat sprintf vsprintf gets strtok alloca
#pragma GCC poison atoi atol atoll system popen tmpnam mktemp gmtime localtime ctime asctime

#endif
