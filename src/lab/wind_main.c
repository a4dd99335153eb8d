/*
 * lab/wind_main.c - `gapura lab wind --scenario FILE`: each law over many seeds, beside the oracle.
 *
 * Called by roles/main.c. The oracle is asked in a process of its own, which gets the file's name
 * and nothing else, so that nothing of a run can reach it.
 */
#include "lab/wind_main.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/err.h"
#include "lab/wind.h"

#define SEEDS_DEFAULT 30u
#define SEEDS_MAX     1000u

struct wind_words {
    const char *scenario;
    unsigned seeds;
    bool json, oracle;
};

static int
usage(FILE *to)
{
    fputs("usage: gapura lab wind --scenario FILE [options]\n\n"
          "Blows a campaign against model providers in virtual time, once for each law of pace: "
          "ours,\n"
          "fixed limits, Postfix's feedback; times are multiples of an oracle's, which knows the "
          "limits.\n"
          "docs/wind.md tells the form of a scenario; share/lab/wind/ has some.\n\n"
          "  --scenario FILE  what is to be sent, and how the providers are inside\n"
          "  --seeds N        runs of each law (default 30, at most 1000)\n"
          "  --json           a JSON line for each law\n"
          "  --help           this text\n\n"
          "example: gapura lab wind --scenario share/lab/wind/steady.conf\n",
          to);
    return to == stdout ? 0 : 2;
}

/* 0, or 1 + an exit status. */
static int
read_words(struct wind_words *w, int argc, char **argv)
{
    w->seeds = SEEDS_DEFAULT;
    for (int i = 3; i < argc; i++) {
        uint64_t n;
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
            return 1 + usage(stdout);
        if (!strcmp(argv[i], "--json")) {
            w->json = true;
        } else if (!strcmp(argv[i], "--oracle")) { /* ourselves, in the other process */
            w->oracle = true;
        } else if (!strcmp(argv[i], "--scenario") && i + 1 < argc) {
            w->scenario = argv[++i];
        } else if (!strcmp(argv[i], "--seeds") && i + 1 < argc &&
                   str_u64(str_c(argv[i + 1]), &n) == 0 && n >= 1 && n <= SEEDS_MAX) {
            w->seeds = (unsigned)n;
            i++;
        } else {
            fprintf(stderr, "gapura: `%s` is not understood here\n", argv[i]);
            return 1 + usage(stderr);
        }
    }
    if (w->scenario)
        return 0;
    fprintf(stderr, "gapura: which scenario?\n");
    return 1 + usage(stderr);
}

static struct conf *
load(const char *file)
{
    struct conf_errors errs = {0};
    struct conf *conf = wind_scenario_load(file, &errs);

    for (size_t i = 0; i < errs.n; i++) {
        if (errs.items[i].line)
            fprintf(stderr, "%.*s:%u: %.*s\n", STR_ARG(errs.items[i].file), errs.items[i].line,
                    STR_ARG(errs.items[i].text));
        else
            fprintf(stderr, "gapura: %.*s\n", STR_ARG(errs.items[i].text));
    }
    conf_errors_done(&errs);
    return conf;
}

/* Seconds, or a negative number if it cannot be asked. */
static double
ask_oracle(const char *file)
{
    char *const argv[] = {(char[]){"gapura"},
                          (char[]){"lab"},
                          (char[]){"wind"},
                          (char[]){"--oracle"},
                          (char[]){"--scenario"},
                          (char *)(uintptr_t)file,
                          NULL};
    char answer[64] = "";
    int pipes[2], status = 1;
    pid_t pid;

    if (pipe(pipes) < 0)
        return -1;
    pid = fork();
    if (pid == 0) {
        dup2(pipes[1], STDOUT_FILENO);
        close(pipes[0]);
        close(pipes[1]);
        execv("/proc/self/exe", argv);
        _exit(127);
    }
    close(pipes[1]);
    ssize_t n = pid > 0 ? read(pipes[0], answer, sizeof(answer) - 1) : -1;
    close(pipes[0]);
    if (pid < 0 || waitpid(pid, &status, 0) < 0 || n <= 0 || status != 0)
        return -1;
    return strtod(answer, NULL);
}

struct sums {
    double *times;
    double use;
    uint64_t deferrals, blocks, unfinished;
};

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int
blow_all(const struct wind_law *law, const struct conf *conf, unsigned seeds, struct sums *s)
{
    for (unsigned i = 0; i < seeds; i++) {
        struct wind_result r;
        int err = wind_blow(law, conf, i + 1, &r);
        if (err < 0)
            return err;
        s->times[i] = r.seconds;
        s->use += r.use / seeds;
        s->deferrals += r.deferrals;
        s->blocks += r.blocks;
        s->unfinished += !r.finished;
    }
    qsort(s->times, seeds, sizeof(s->times[0]), by_value);
    return 0;
}

static void
print(const struct wind_words *w, const struct wind_law *law, const struct sums *s, double oracle)
{
    double median = s->times[w->seeds / 2], worst = s->times[w->seeds - 1];
    double deferrals = (double)s->deferrals / w->seeds, blocks = (double)s->blocks / w->seeds;

    printf(w->json ? "{\"law\":\"%s\",\"median_s\":%.0f,\"median\":%.3f,\"worst\":%.3f,"
                     "\"deferrals\":%.1f,\"blocks\":%.2f,\"use\":%.3f,\"unfinished\":%llu}\n"
                   : "%-8s %9.0f s  %7.2f %7.2f  %10.1f %8.2f  %5.2f  %5llu\n",
           law->name, median, median / oracle, worst / oracle, deferrals, blocks, s->use,
           (unsigned long long)s->unfinished);
}

int
wind_main(int argc, char **argv)
{
    struct wind_words w = {.scenario = NULL};
    int rc = read_words(&w, argc, argv);

    if (rc)
        return rc - 1;
    struct conf *conf = load(w.scenario);
    if (!conf)
        return 1;
    if (w.oracle) {
        printf("%.3f\n", wind_oracle(conf));
        conf_free(conf);
        return 0;
    }
    double oracle = ask_oracle(w.scenario);
    if (isinf(oracle)) {
        fprintf(stderr, "gapura: these limits do not let all messages through before the horizon, "
                        "whatever the law: raise `horizon` or `rate`, or send fewer messages\n");
        conf_free(conf);
        return 1;
    }
    double *times = calloc(w.seeds, sizeof(*times));
    rc = oracle > 0 && times ? 0 : ERR_STATE;
    if (rc == 0)
        printf(w.json
                   ? "{\"law\":\"oracle\",\"median_s\":%.0f}\n"
                   : "oracle   %9.0f s   median   worst   deferrals   blocks    use  unfinished\n",
               oracle);
    for (size_t i = 0; i < wind_nlaws && rc == 0; i++) {
        struct sums s = {.times = times};
        rc = blow_all(&wind_laws[i], conf, w.seeds, &s);
        if (rc == 0)
            print(&w, &wind_laws[i], &s, oracle);
    }
    if (rc < 0)
        fprintf(stderr, "gapura: the scenario cannot be run: %s\n", err_text(rc));
    free(times);
    conf_free(conf);
    return rc < 0 ? 1 : 0;
}
