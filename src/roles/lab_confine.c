/*
 * roles/lab_confine.c - see roles/lab_confine.h.
 *
 * Called by the lab when its gateway is ready, before sample mail flows. The fake providers read
 * what a gateway sends, and the lab reads events: neither needs more than this.
 */
#include "roles/lab_confine.h"

#include <errno.h>
#include <ftw.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base.h"
#include "roles/sandbox.h"

#define OPEN_FOLDERS 16
#define LAB_USER     "gapura-lab"
#define LAB_FALLBACK 61799u /* behind those of the roles, see children.c */

static unsigned lab_uid, lab_gid;

/* Mail of a former run is the new user's as well. A second name of a file may be of a file that is
 * not ours. */
static int
give_one(const char *path, const struct stat *st, int kind, struct FTW *at UNUSED)
{
    bool mine = kind == FTW_D || (kind == FTW_F && st->st_nlink == 1);

    if (!mine || (st->st_uid == lab_uid && st->st_gid == lab_gid))
        return 0;
    return lchown(path, lab_uid, lab_gid) < 0 ? errno : 0;
}

int
lab_confine(const char *mail, const char *events, struct why *why)
{
    const struct sandbox_path paths[] = {{mail, SANDBOX_READ | SANDBOX_WRITE},
                                         {events, SANDBOX_READ}};
    const struct passwd *pw = getpwnam(LAB_USER);
    int rc = 0;

    if (geteuid() == 0) {
        lab_uid = pw && pw->pw_uid ? pw->pw_uid : LAB_FALLBACK;
        lab_gid = pw && pw->pw_uid ? pw->pw_gid : LAB_FALLBACK;
        rc = nftw(mail, give_one, OPEN_FOLDERS, FTW_PHYS | FTW_MOUNT);
        if (rc)
            return why_set(why, rc > 0 ? -rc : -errno,
                           "the folders of the lab's mail cannot be given to an ordinary user: %s",
                           err_text(rc > 0 ? -rc : -errno));
        rc = sandbox_reader(lab_uid, lab_gid, why);
    }
    return rc ? rc : sandbox_enter("lab", paths, ARRAY_LEN(paths), why);
}
