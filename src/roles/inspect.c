/*
 * roles/inspect.c - `gapura check`: says of a file of settings whether it would be taken.
 *
 * Called by roles/main.c. Changes nothing, and asks no program that runs.
 */
#include <unistd.h>

#include "core/clock.h"
#include "roles/check.h"
#include "roles/dirs.h"
#include "roles/inspect.h"
#include "roles/notes.h"
#include "roles/places.h"
#include "roles/settings.h"
#include "store/settings.h"

/* As they are now; to refuse them is the start's. Only root learns of it. */
static void
note_dirs(const struct conf *conf, struct conf_errors *ret)
{
    const struct settings_main *m = conf_get(conf, "");
    const struct settings_spool *sp = conf_get(conf, "spool");
    const struct settings_control *co = conf_get(conf, "control");
    static struct plan p;
    static struct children ids;
    CLEANUP(buf_done) struct buf spool, store;
    struct why why = {{0}};
    char user[96];

    buf_init(&spool, PLACES_STORY);
    buf_init(&store, PLACES_STORY);
    if (geteuid() != 0 || !str_copy(m->user, user, sizeof user) ||
        !str_copy(sp->dir, p.spool_dir, sizeof p.spool_dir) ||
        !str_copy(co->store, p.store, sizeof p.store) || children_identity(&ids, user, &why) < 0)
        return;
    if (dirs_look_spool(&p, &ids, &spool) < 0)
        conf_fail_row(ret, conf_first(conf, "spool"), "dir", "a start would be refused: %.*s",
                      STR_ARG(buf_view(&spool)));
    if (dirs_look_store(&p, &ids, &store) < 0)
        conf_fail_row(ret, conf_first(conf, "control"), "store", "a start would be refused: %.*s",
                      STR_ARG(buf_view(&store)));
}

int
inspect_main(const char *file, bool as_json)
{
    static struct conf_texts texts;
    static struct check_files files;
    struct conf_errors errs = {0};
    struct conf *conf = NULL;
    conf_load(&texts, file, &errs);
    if (texts.n)
        conf_draft(&conf, &texts, roles_blocks, roles_nblocks, 1, &errs);
    if (conf)
        check_conf(conf, &files, &errs);
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 4u << 20);
    int status = errs.n ? 1 : 0;
    if (!errs.n && conf) {
        notes_conf(conf, &files, clock_wall() / NS_PER_S, &errs);
        note_dirs(conf, &errs);
    }
    if (as_json)
        conf_errors_json(&errs, status == 0, &b);
    else
        conf_errors_text(&errs, status ? "" : "note: ", &b);
    fwrite(b.p ? b.p : "", 1, b.n, as_json ? stdout : stderr);
    if (status && !as_json)
        fprintf(stderr, "%s: %zu error%s; nothing was changed\n", file, errs.n,
                errs.n == 1 ? "" : "s");
    else if (!as_json)
        printf("%s: fine (%zu file%s)\n", file, texts.n, texts.n == 1 ? "" : "s");
    if (!texts.n && !as_json)
        fprintf(stderr,
                "-c FILE names another file; /usr/share/gapura/gapura.conf is one to begin with, "
                "and gapura.conf(5) has examples\n");
    conf_free(conf);
    conf_texts_done(&texts);
    conf_errors_done(&errs);
    return status;
}
