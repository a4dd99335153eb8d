/*
 * core/lang.c - the compiled-in translations and the choice among them.
 *
 * Called by ctl for help and by core/event.c for alerts. Never reads a file: a sandboxed role can
 * speak too. Few sentences, seldom said, so looking one up is a walk over the table.
 */
#include "core/lang.h"

#include <stdlib.h>
#include <string.h>

static const struct lang_pair indonesian[] = {
#include "core/lang_id.inc"
};
static const struct {
    const struct lang_pair *pairs;
    size_t n;
} tables[LANG_MAX_] = {
    [LANG_ENGLISH] = {NULL, 0},
    [LANG_INDONESIAN] = {indonesian, ARRAY_LEN(indonesian)},
};
const char *const lang_names[] = {"en", "id", NULL};

static _Atomic int current = LANG_ENGLISH;

void
lang_set(enum lang lang)
{
    if (lang < LANG_MAX_)
        current = (int)lang;
}

void
lang_set_from_environment(void)
{
    static const char *const variables[] = {"LC_ALL", "LC_MESSAGES", "LANG"};
    const char *value = NULL;

    for (unsigned i = 0; i < ARRAY_LEN(variables) && (!value || !*value); i++)
        value = getenv(variables[i]);
    for (int i = 0; value && lang_names[i]; i++) {
        size_t n = strlen(lang_names[i]);
        /* id, id_ID, id_ID.UTF-8, id.UTF-8; not "idX". */
        if (!strncmp(value, lang_names[i], n) && (!value[n] || strchr("_.@", value[n]))) {
            lang_set((enum lang)i);
            return;
        }
    }
    lang_set(LANG_ENGLISH);
}

const char *
lang_text(const char *english)
{
    int lang = current;

    for (size_t i = 0; i < tables[lang].n; i++) {
        if (!strcmp(tables[lang].pairs[i].english, english))
            return tables[lang].pairs[i].translated;
    }
    return english;
}

size_t
lang_pairs(enum lang lang, const struct lang_pair **ret)
{
    *ret = tables[lang].pairs;
    return tables[lang].n;
}
