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
#include "ctl/words.h"
#include "lab/wind.h"

#define SEEDS_DEFAULT 30u
#define SEEDS_MAX     1000u

struct wind_words {
    const char *scenario;
    unsigned seeds;
    bool json, oracle;
};

/* 0, or 1 + an exit status. */
static int
read_words(struct wind_words *w, const struct args *a)
{
    const json_t *seeds = json_object_get(a->json, "seeds");
    json_int_t n = seeds ? json_integer_value(seeds) : SEEDS_DEFAULT;

    w->scenario = json_string_value(json_object_get(a->json, "scenario"));
    w->json = a->as_json;
    w->seeds = (unsigned)MIN(n, (json_int_t)SEEDS_MAX);
    if (!w->scenario)
        fprintf(stderr, "gapura: which scenario? --scenario FILE; share/lab/wind/ has some\n");
    else if (n > SEEDS_MAX)
        fprintf(stderr, "gapura: --seeds: at most %u\n", SEEDS_MAX);
    else
        return 0;
    return 3;
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
                          (char[]){"--scenario"},
                          (char *)(uintptr_t)file,
                          (char[]){"--oracle"},
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

static int
wind_run(const struct wind_words *w)
{
    struct conf *conf = load(w->scenario);
    if (!conf)
        return 1;
    if (w->oracle) {
        printf("%.3f\n", wind_oracle(conf));
        conf_free(conf);
        return 0;
    }
    double oracle = ask_oracle(w->scenario);
    if (isinf(oracle)) {
        fprintf(stderr, "gapura: these limits do not let all messages through before the horizon, "
                        "whatever the law: raise `horizon` or `rate`, or send fewer messages\n");
        conf_free(conf);
        return 1;
    }
    double *times = calloc(w->seeds, sizeof(*times));
    int rc = oracle > 0 && times ? 0 : ERR_STATE;
    if (rc == 0)
        printf(w->json
                   ? "{\"law\":\"oracle\",\"median_s\":%.0f}\n"
                   : "oracle   %9.0f s   median   worst   deferrals   blocks    use  unfinished\n",
               oracle);
    for (size_t i = 0; i < wind_nlaws && rc == 0; i++) {
        struct sums s = {.times = times};
        rc = blow_all(&wind_laws[i], conf, w->seeds, &s);
        if (rc == 0)
            print(w, &wind_laws[i], &s, oracle);
    }
    if (rc < 0)
        fprintf(stderr, "gapura: the scenario cannot be run: %s\n", err_text(rc));
    free(times);
    conf_free(conf);
    return rc < 0 ? 1 : 0;
}

int
wind_main(int argc, char **argv)
{
    struct wind_words w = {.scenario = NULL};
    struct args a;
    int rc;

    if (argc > 4 && !strcmp(argv[argc - 1], "--oracle")) { /* ourselves, in the other process */
        w.oracle = true;
        argc--;
    }
    if (!words_take(argc, argv, &a, &rc))
        return rc;
    rc = read_words(&w, &a);
    rc = rc ? rc - 1 : wind_run(&w);
    args_done(&a);
    return rc;
}
