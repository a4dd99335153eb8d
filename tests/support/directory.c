/*
 * tests/support/directory.c - asks a real LDAP directory or Dovecot server by the store's own code.
 *
 *     directory ldap URL FILTER BIND PASSWORD     addresses by lines of standard input
 *     directory dovecot SOCKET                    "user password" by lines
 *
 * An answer a line, as the question was asked: "found 0", "unknown 0", "temporary 0 why".
 */
#include "store/directory.h"
#include "core/clock.h"

static bool answered;

static void
lookup_done(struct worker_job *job)
{
    static const char *const names[] = {"found", "unknown", "temporary", "refused"};
    struct lookup *l = CONTAINER_OF(job, struct lookup, job);

    printf("%s %u", names[l->result], l->nto);
    for (unsigned i = 0; i < l->nto; i++)
        printf(" %.*s", STR_ARG(l->to[i]));
    printf("%s%s\n", l->problem[0] ? " " : "", l->problem);
    fflush(stdout);
    directory_lookup_free(l);
    answered = true;
}

static void
checked(void *ctx, enum auth_answer result, struct str user)
{
    static const char *const names[] = {"ok", "challenge", "fail", "temporary"};
    struct dovecot *d = ctx;

    printf("%s %.*s%s\n", names[result], STR_ARG(user),
           result == AUTH_ANSWER_TEMP ? dovecot_problem(d) : "");
    fflush(stdout);
    answered = true;
}

static bool
read_line(char *dst, int cap)
{
    if (!fgets(dst, cap, stdin))
        return false;
    dst[strcspn(dst, "\n")] = '\0';
    return true;
}

static int
run_ldap(struct loop *loop, char **argv)
{
    struct settings_domain d = {.recipients = RECIPIENTS_LDAP,
                                .ldap_url = str_c(argv[2]),
                                .recipient_query = str_c(argv[3]),
                                .ldap_bind = str_c(argv[4])};
    struct worker *worker;
    char line[2000];

    if (worker_create(&worker, loop, 1, 10, &directory_threads) < 0)
        return 1;
    while (read_line(line, sizeof(line))) {
        struct str address = str_c(line);
        struct str domain = str_from(address, (size_t)(str_rchr(address, '@') + 1));
        struct lookup *l = directory_lookup_create(&d, domain, address, str_c(argv[5]));

        if (!l)
            return 1;
        l->job.done = lookup_done;
        answered = false;
        if (worker_submit(worker, &l->job) < 0)
            return 1;
        while (!answered)
            loop_once(loop, true);
    }
    worker_free(worker, NULL);
    return 0;
}

static int
run_dovecot(struct loop *loop, const char *path)
{
    struct dovecot *d = dovecot_create(loop, path);
    char line[2000];

    while (d && read_line(line, sizeof(line))) {
        struct str password, user = str_cut(str_c(line), ' ', &password);

        answered = false;
        if (dovecot_check(d, STR("PLAIN"), user, password, checked, d) < 0)
            return 1;
        while (!answered)
            loop_once(loop, true);
    }
    dovecot_free(d);
    return d ? 0 : 1;
}

int
main(int argc, char **argv)
{
    struct loop *loop = loop_create();
    int r = 2;

    if (argc == 6 && !strcmp(argv[1], "ldap"))
        r = run_ldap(loop, argv);
    else if (argc == 3 && !strcmp(argv[1], "dovecot"))
        r = run_dovecot(loop, argv[2]);
    loop_free(loop);
    return r;
}
