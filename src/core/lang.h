/*
 * core/lang.h - sentences for people in their own language: help texts and alerts.
 *
 * The English sentence is the key, as in gettext; a translation that is missing shows the English.
 * Names of settings, verbs, events and SMTP replies are never translated: they are interfaces.
 * Translations are po/LANGUAGE.po, compiled in. Reading is safe from any thread.
 */
#ifndef GAPURA_CORE_LANG_H
#define GAPURA_CORE_LANG_H

#include "core/base.h"

enum lang { LANG_ENGLISH, LANG_INDONESIAN, LANG_MAX_ };
extern const char *const lang_names[]; /* "en", "id", NULL: as in settings */

void lang_set(enum lang);
/* From LC_ALL, LC_MESSAGES or LANG, the first that is not empty; English if it is another. */
void lang_set_from_environment(void);
/* A format stays a format: its translation takes the same arguments (a test holds that). */
const char *lang_text(const char *english) __attribute__((format_arg(1)));

/* Every pair of a language, for tests. */
struct lang_pair {
    const char *english, *translated;
};
size_t lang_pairs(enum lang, const struct lang_pair **ret);

#endif
