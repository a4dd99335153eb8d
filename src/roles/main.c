/*
 * roles/main.c - one binary: the command line, `run`, `check`, and a role when re-executed.
 */
#include <stdio.h>

#include "authtool/authtool.h"
#include "courier/replies_tool.h"
#include "ctl/ctl.h"
#include "ctl/words.h"
#include "import/import.h"
#include "lab/lab.h"
#include "lab/settings.h"
#include "lab/wind_main.h"
#include "roles/inspect.h"
#include "roles/lab_confine.h"
#include "roles/policy.h"
#include "roles/report_tool.h"
#include "roles/role.h"
#include "roles/sandbox.h"
#include "roles/settings.h"
#include "roles/supervisor.h"
#include "roles/trial.h"
#include "submit/submit.h"

#define DEFAULT_FILE "/etc/gapura/gapura.conf"

/* `gapura run` and `gapura check`. */
static int
settings_main(int argc, char **argv)
{
    const struct ctl_verb *v;
    const char *file;
    struct args a;
    int status;

    v = words_take(argc, argv, &a, &status);
    if (!v)
        return status;
    file = a.conf ? a.conf : DEFAULT_FILE;
    status = !strcmp(v->words, "run") ? supervisor_main(file) : inspect_main(file, a.as_json);
    args_done(&a);
    return status;
}

static int
print_settings(const char *form)
{
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 4u << 20);
    if (!strcmp(form, "lab"))
        conf_print_markdown(&b, lab_blocks, LAB_NBLOCKS);
    else if (!strcmp(form, "man"))
        conf_print_man(&b, roles_blocks, roles_nblocks);
    else
        conf_print_markdown(&b, roles_blocks, roles_nblocks);
    fwrite(b.p, 1, b.n, stdout);
    return b.failed ? 1 : 0;
}

/* Where `-c FILE` says that the control sockets are. That row is enough: a file with mistakes must
 * not keep anybody from `reload` or `queue list`. */
static int
run_dir_of(const char *file, char *dst, size_t cap, struct why *why)
{
    static struct conf_texts texts;
    struct conf_errors errs = {0};
    struct conf *conf = NULL;
    conf_load(&texts, file, &errs);
    if (texts.n)
        conf_draft(&conf, &texts, roles_blocks, roles_nblocks, 1, &errs);
    int rc = 0;
    bool flawed = !conf || conf_first(conf, "control")->flawed;
    struct str dir = flawed ? STR(CTL_RUN_DIR)
                            : ((const struct settings_control *)conf_get(conf, "control"))->dir;
    if (!texts.n)
        rc = why_set(why, ERR_NOTFOUND, "%.*s; --run-dir DIR needs no settings",
                     STR_ARG(errs.n ? errs.items[0].text : str_c(file)));
    else if (!str_copy(dir, dst, cap))
        rc = why_set(why, ERR_LIMIT, "the directory of the control sockets has too long a name");
    if (!rc && errs.n)
        fprintf(stderr,
                "gapura: %s has %zu error%s (`gapura check -c %s` names them); asking at %s\n",
                file, errs.n, errs.n == 1 ? "" : "s", file, dst);
    conf_free(conf);
    conf_errors_done(&errs);
    conf_texts_done(&texts);
    return rc;
}

/* Where the lab's gateway says that the control sockets and the events are. */
static int
lab_paths_of(const char *file, char *run_dir, char *events, size_t cap, struct why *why)
{
    static struct conf_texts texts;
    struct conf_errors errs = {0};
    struct conf *conf = NULL;
    conf_load(&texts, file, &errs);
    if (!errs.n)
        conf_parse(&conf, &texts, roles_blocks, roles_nblocks, 1, &errs);
    int rc = 0;
    if (!conf)
        rc = why_set(why, ERR_SYNTAX, "%s does not stand the check; `gapura check -c %s` says why",
                     file, file);
    else if (!str_copy(((const struct settings_control *)conf_get(conf, "control"))->dir, run_dir,
                       cap) ||
             !str_copy(((const struct settings_events *)conf_get(conf, "events"))->file, events,
                       cap))
        rc = why_set(why, ERR_LIMIT, "a directory in %s has too long a name", file);
    conf_free(conf);
    conf_errors_done(&errs);
    conf_texts_done(&texts);
    return rc;
}

int
main(int argc, char **argv)
{
    int (*by_name)(int, char **) = submit_main_of(argc ? argv[0] : NULL);
    if (by_name)
        return by_name(argc, argv);
    ctl_set_run_dir_reader(run_dir_of);
    if (argc == 3 && !strcmp(argv[1], "--role")) {
        const struct role_row *row = role_find(argv[2]);
        return row ? role_main(row, 0) : 2;
    }
    if (argc >= 3 && !strcmp(argv[1], "--sandbox-trial"))
        return trial_main(argc - 2, argv + 2);
    if (argc == 3 && !strcmp(argv[1], "--print-settings"))
        return print_settings(argv[2]);
    if (argc == 3 && !strcmp(argv[1], "send") && !strcmp(argv[2], "--help"))
        return ctl_main(argc, argv); /* all other words of it are sendmail's */
    if (argc >= 2 && !strcmp(argv[1], "send"))
        return submit_sendmail(argc - 1, argv + 1);
    if (argc >= 2 && !strcmp(argv[1], "import"))
        return import_main(argc, argv);
    if (argc >= 2 && !strcmp(argv[1], "auth"))
        return authtool_main(argc, argv);
    if (argc >= 2 && !strcmp(argv[1], "replies"))
        return replies_main(argc, argv);
    if (argc >= 3 && !strcmp(argv[1], "report") && !strcmp(argv[2], "read"))
        return report_tool_main(argc, argv);
    if (argc >= 2 && !strcmp(argv[1], "policy"))
        return policy_main(argc, argv);
    if (argc >= 2 && (!strcmp(argv[1], "run") || !strcmp(argv[1], "check")))
        return settings_main(argc, argv);
    if (argc >= 3 && !strcmp(argv[1], "lab") && !strcmp(argv[2], "wind"))
        return wind_main(argc, argv);
    if (argc >= 2 && !strcmp(argv[1], "lab"))
        return lab_main(argc, argv, &(struct lab_links){lab_paths_of, lab_confine});
    return ctl_main(argc, argv);
}
