/* tests/unit/test_ctl_language.c - every help text of the table of verbs is translated. */
#include <string.h>

#include "core/lang.h"
#include "ctl/verbs.h"
#include "tap.h"

static void
translated(const char *text, const char *of)
{
    OK(!text || lang_text(text) != text, "%s: %s", of, text ? text : "");
}

int
main(void)
{
    lang_set(LANG_INDONESIAN);
    for (size_t i = 0; i < ctl_nverbs; i++) {
        const struct ctl_verb *v = &ctl_verbs[i];
        translated(v->group, v->words);
        translated(v->help, v->words);
        translated(v->more, v->words);
        for (size_t j = 0; j < v->noptions; j++)
            translated(v->options[j].help, v->words);
    }
    for (size_t i = 0; i < ctl_ncommon; i++)
        translated(ctl_common[i].help, ctl_common[i].name);
    return tap_done();
}
