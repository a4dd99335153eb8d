/* tests/unit/test_core_lang.c - translations keep their directives; the environment chooses. */
#include <stdlib.h>
#include <string.h>

#include "core/lang.h"
#include "tap.h"

/* The printf directives of a text, one behind the other. */
static void
directives(const char *text, char *dst, size_t cap)
{
    size_t n = 0;

    for (const char *p = text; (p = strchr(p, '%')); p++) {
        size_t len = 1 + strcspn(p + 1, "diouxXeEfgGcsp%") + 1;
        if (n + len + 1 > cap)
            break;
        memcpy(dst + n, p, len);
        n += len;
        p += len - 1;
    }
    dst[n] = '\0';
}

static void
test_pairs(void)
{
    const struct lang_pair *pairs;
    size_t n = lang_pairs(LANG_INDONESIAN, &pairs);

    OK(n > 30, "there are translations");
    IS(lang_pairs(LANG_ENGLISH, &pairs), 0, "English needs none");
    n = lang_pairs(LANG_INDONESIAN, &pairs);
    for (size_t i = 0; i < n; i++) {
        char a[256], b[256];
        directives(pairs[i].english, a, sizeof(a));
        directives(pairs[i].translated, b, sizeof(b));
        OK(!strcmp(a, b) && pairs[i].translated[0], "same arguments: %.60s", pairs[i].english);
        size_t k = strlen(pairs[i].english), t = strlen(pairs[i].translated);
        OK((pairs[i].english[k - 1] == '\n') == (pairs[i].translated[t - 1] == '\n'),
           "same end of line");
        for (size_t j = 0; j < i; j++) {
            if (!strcmp(pairs[i].english, pairs[j].english))
                OK(false, "translated twice: %s", pairs[i].english);
        }
    }
}

static bool
speaks_indonesian(const char *all, const char *messages, const char *lang)
{
    const struct lang_pair *pairs;

    lang_pairs(LANG_INDONESIAN, &pairs);
    setenv("LC_ALL", all, 1);
    setenv("LC_MESSAGES", messages, 1);
    setenv("LANG", lang, 1);
    lang_set_from_environment();
    return lang_text(pairs[0].english) == pairs[0].translated;
}

static void
test_choice(void)
{
    OK(speaks_indonesian("", "", "id_ID.UTF-8"), "LANG");
    OK(speaks_indonesian("", "id", "C.UTF-8"), "LC_MESSAGES before LANG");
    OK(!speaks_indonesian("C", "id", "id"), "LC_ALL before all");
    OK(!speaks_indonesian("", "", "idx"), "another language");
    OK(!speaks_indonesian("", "", "de_DE.UTF-8"), "one that we do not speak");
    OK(!speaks_indonesian("", "", ""), "none");
    lang_set(LANG_INDONESIAN);
    OK(!strcmp(lang_text("not in the table"), "not in the table"), "English where none is known");
    lang_set(LANG_MAX_);
    OK(speaks_indonesian("id", "", ""), "a wrong number changes nothing");
}

int
main(void)
{
    test_pairs();
    test_choice();
    return tap_done();
}
