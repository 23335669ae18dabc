/*
 * Stands between a process and the C library: records what the process does to the files below one folder, in the order in
 * which it does it, and lets a call fail. Loaded by LD_PRELOAD.
 *
 *   KV_RECORD_ROOT   the folder (an absolute path)
 *   KV_RECORD_FILE   where the record goes
 *   KV_RECORD_MARKS  a file whose lines are put into the record, in order with the calls
 *   KV_FAIL_AT       number of the call that fails, from 1
 *   KV_FAIL_ERRNO    how
 *   KV_FAIL_ALWAYS   set: all calls after it fail too
 *
 * With ENOSPC only calls that take room are counted.
 *
 * Each item of the record: kind (1 byte), file (8 bytes), number (8), length of text (4), text, length of data (4), data.
 * Calls are serialized, so that the order of the record is that of the effects. Some are made without the C library
 * (pwritev2, renameat): the kernel is told to hand these over as a signal, and they are carried out here.
 */
#ifndef __x86_64__
#error "written for x86-64 only"
#endif
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

#define FDS 4096

static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static char root[PATH_MAX], marks[PATH_MAX];
static size_t root_len;
static int record = -1;
static long calls, fail_at = -1;
static int fail_errno, fail_always, only_room;
/* NULL: not below the folder. */
static char *paths[FDS];
static char is_marks[FDS];
static uint64_t files[FDS];

/* The C library's own, looked up once at each place. */
#define REAL(name)                                                            \
	({                                                                    \
		static __typeof__(&name) real_##name;                         \
		if (!real_##name)                                             \
			real_##name = (__typeof__(&name))dlsym(RTLD_NEXT, #name); \
		real_##name;                                                  \
	})

static void put(const void *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = REAL(write)(record, bytes, len);
		if (n <= 0)
			abort();
		bytes = (const char *)bytes + n;
		len -= n;
	}
}

static void item(char kind, uint64_t file, uint64_t number, const char *text, const void *data, size_t len)
{
	int saved = errno;
	uint32_t text_len = text ? strlen(text) : 0, data_len = len;
	char head[1 + 8 + 8 + 4];
	head[0] = kind;
	memcpy(head + 1, &file, 8);
	memcpy(head + 9, &number, 8);
	memcpy(head + 17, &text_len, 4);
	put(head, sizeof head);
	put(text, text_len);
	put(&data_len, 4);
	put(data, len);
	errno = saved;
}

static void trap(void);

__attribute__((constructor)) static void start(void)
{
	const char *folder = getenv("KV_RECORD_ROOT"), *to = getenv("KV_RECORD_FILE"), *said = getenv("KV_RECORD_MARKS");
	if (!folder || !to || !said)
		return;
	snprintf(root, sizeof root, "%s", folder);
	snprintf(marks, sizeof marks, "%s", said);
	root_len = strlen(root);
	record = REAL(open)(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (record < 0)
		abort();
	if (getenv("KV_FAIL_AT")) {
		fail_at = atol(getenv("KV_FAIL_AT"));
		fail_errno = atoi(getenv("KV_FAIL_ERRNO"));
		fail_always = getenv("KV_FAIL_ALWAYS") != NULL;
		only_room = fail_errno == ENOSPC;
	}
	trap();
}

static int below(const char *path)
{
	return record >= 0 && root_len && strncmp(path, root, root_len) == 0 && (path[root_len] == '/' || !path[root_len]);
}

/* Whether this call is to fail; errno says how. */
static int fails(const char *name, const char *path, int takes_room)
{
	if (only_room && !takes_room)
		return 0;
	calls++;
	item('c', 0, calls, name, path, strlen(path));
	if (fail_at < 0 || calls < fail_at || (calls > fail_at && !fail_always))
		return 0;
	item('F', 0, calls, name, path, strlen(path));
	errno = fail_errno;
	return 1;
}

static void absolute(char *into, int folder, const char *path)
{
	if (path[0] != '/' && folder >= 0 && folder < FDS && paths[folder])
		snprintf(into, PATH_MAX, "%.2000s/%.2000s", paths[folder], path);
	else
		snprintf(into, PATH_MAX, "%s", path);
}

static void forget(int fd)
{
	if (fd < 0 || fd >= FDS)
		return;
	free(paths[fd]);
	paths[fd] = NULL;
	is_marks[fd] = 0;
}

static int open_any(int folder, const char *given, int flags, mode_t mode)
{
	char path[PATH_MAX];
	absolute(path, folder, given);
	int marked = record >= 0 && strcmp(path, marks) == 0;
	if (!below(path) && !marked)
		return REAL(openat)(folder, given, flags, mode);
	pthread_mutex_lock(&lock);
	struct stat there;
	int was_there = fstatat(AT_FDCWD, path, &there, 0) == 0;
	int fd = -1;
	if (marked || !fails((flags & O_CREAT) && !was_there ? "create" : "open", path, flags & O_CREAT))
		fd = REAL(openat)(folder, given, flags, mode);
	if (fd >= 0 && fd < FDS) {
		forget(fd);
		struct stat now;
		fstat(fd, &now);
		files[fd] = now.st_ino;
		if (marked) {
			is_marks[fd] = 1;
		} else {
			paths[fd] = strdup(path);
			if (S_ISREG(now.st_mode)) {
				item(was_there ? 'O' : 'C', now.st_ino, 0, path, NULL, 0);
				if (was_there && (flags & O_TRUNC))
					item('T', now.st_ino, 0, NULL, NULL, 0);
			}
		}
	}
	pthread_mutex_unlock(&lock);
	return fd;
}

static mode_t mode_of(int flags, va_list rest)
{
	return flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
}

#define OPEN(name, folder, ...)                               \
	int name(__VA_ARGS__ const char *path, int flags, ...) \
	{                                                     \
		va_list rest;                                 \
		va_start(rest, flags);                        \
		mode_t mode = mode_of(flags, rest);           \
		va_end(rest);                                 \
		return open_any(folder, path, flags, mode);   \
	}
#define AND ,
OPEN(open, AT_FDCWD)
OPEN(open64, AT_FDCWD)
OPEN(openat, folder, int folder AND)
OPEN(openat64, folder, int folder AND)

static const char *path_of(int fd)
{
	return fd >= 0 && fd < FDS ? paths[fd] : NULL;
}

int close(int fd)
{
	pthread_mutex_lock(&lock);
	forget(fd);
	int result = REAL(close)(fd);
	pthread_mutex_unlock(&lock);
	return result;
}

static ssize_t write_any(int fd, const void *bytes, size_t len, off64_t at, int has_place)
{
	__typeof__(&write) plain = REAL(write);
	__typeof__(&pwrite64) placed = REAL(pwrite64);
	if (fd >= 0 && fd < FDS && is_marks[fd]) {
		pthread_mutex_lock(&lock);
		item('M', 0, 0, NULL, bytes, len);
		pthread_mutex_unlock(&lock);
		return plain(fd, bytes, len);
	}
	const char *path = path_of(fd);
	if (!path)
		return has_place ? placed(fd, bytes, len, at) : plain(fd, bytes, len);
	pthread_mutex_lock(&lock);
	ssize_t written = -1;
	off64_t place = has_place ? at : lseek64(fd, 0, fcntl(fd, F_GETFL) & O_APPEND ? SEEK_END : SEEK_CUR);
	if (!fails("write", path, 1))
		written = has_place ? placed(fd, bytes, len, at) : plain(fd, bytes, len);
	if (written > 0)
		item('W', files[fd], place, NULL, bytes, written);
	pthread_mutex_unlock(&lock);
	return written;
}

ssize_t write(int fd, const void *bytes, size_t len) { return write_any(fd, bytes, len, 0, 0); }
ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at) { return write_any(fd, bytes, len, at, 1); }
ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t at) { return write_any(fd, bytes, len, at, 1); }

ssize_t writev(int fd, const struct iovec *pieces, int count)
{
	if (!path_of(fd) && !(fd >= 0 && fd < FDS && is_marks[fd]))
		return REAL(writev)(fd, pieces, count);
	/* A short write is allowed: the caller goes on with the rest. */
	for (int at = 0; at < count; at++)
		if (pieces[at].iov_len)
			return write_any(fd, pieces[at].iov_base, pieces[at].iov_len, 0, 0);
	return 0;
}

static ssize_t read_any(int fd, void *bytes, size_t len, off64_t at, int has_place)
{
	__typeof__(&read) plain = REAL(read);
	__typeof__(&pread64) placed = REAL(pread64);
	const char *path = path_of(fd);
	int failed = 0;
	if (path) {
		pthread_mutex_lock(&lock);
		failed = fails("read", path, 0);
		pthread_mutex_unlock(&lock);
	}
	if (failed)
		return -1;
	return has_place ? placed(fd, bytes, len, at) : plain(fd, bytes, len);
}

ssize_t read(int fd, void *bytes, size_t len) { return read_any(fd, bytes, len, 0, 0); }
ssize_t pread(int fd, void *bytes, size_t len, off_t at) { return read_any(fd, bytes, len, at, 1); }
ssize_t pread64(int fd, void *bytes, size_t len, off64_t at) { return read_any(fd, bytes, len, at, 1); }

/*
 * Makes a call on what lies below the folder, unless it is to fail: then its result is `failed`. Of one that has succeeded
 * `note` is done before another call can be made, so that the record is in the order of the effects.
 */
#define MAKE(name, path, takes_room, failed, call, note)   \
	({                                                 \
		pthread_mutex_lock(&lock);                 \
		__typeof__(call) result = failed;          \
		if (!fails(name, path, takes_room))        \
			result = call;                     \
		if (result != failed)                      \
			note;                              \
		pthread_mutex_unlock(&lock);               \
		result;                                    \
	})

static int sync_any(int fd, int (*real)(int))
{
	const char *path = path_of(fd);
	if (!path)
		return real(fd);
	struct stat now;
	int folder = fstat(fd, &now) == 0 && S_ISDIR(now.st_mode);
	return MAKE("sync", path, 1, -1, real(fd), item(folder ? 'D' : 'S', files[fd], 0, path, NULL, 0));
}

int fsync(int fd) { return sync_any(fd, REAL(fsync)); }
int fdatasync(int fd) { return sync_any(fd, REAL(fdatasync)); }

static int truncate_any(int fd, off64_t len)
{
	const char *path = path_of(fd);
	if (!path)
		return REAL(ftruncate64)(fd, len);
	return MAKE("resize", path, 1, -1, REAL(ftruncate64)(fd, len), item('T', files[fd], len, NULL, NULL, 0));
}

int ftruncate(int fd, off_t len) { return truncate_any(fd, len); }
int ftruncate64(int fd, off64_t len) { return truncate_any(fd, len); }

int rename(const char *from, const char *to)
{
	if (!below(from))
		return REAL(rename)(from, to);
	return MAKE("rename", to, 1, -1, REAL(rename)(from, to), item('R', 0, 0, from, to, strlen(to)));
}

int unlinkat(int folder, const char *given, int flags)
{
	char path[PATH_MAX];
	absolute(path, folder, given);
	if (!below(path))
		return REAL(unlinkat)(folder, given, flags);
	return MAKE("remove", path, 0, -1, REAL(unlinkat)(folder, given, flags), item('U', 0, 0, path, NULL, 0));
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int mkdir(const char *path, mode_t mode)
{
	if (!below(path))
		return REAL(mkdir)(path, mode);
	return MAKE("create", path, 1, -1, REAL(mkdir)(path, mode), item('K', 0, 0, path, NULL, 0));
}

DIR *opendir(const char *path)
{
	if (!below(path))
		return REAL(opendir)(path);
	return MAKE("list", path, 0, NULL, REAL(opendir)(path), (void)0);
}

/* Carries out a call that was made without the C library. */
static void on_call(int number, siginfo_t *info, void *context)
{
	greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
	greg_t first = registers[REG_RDI], second = registers[REG_RSI], third = registers[REG_RDX];
	int saved = errno;
	ssize_t result = -1;
	(void)number;
	errno = ENOSYS;
	if (info->si_syscall == SYS_pwritev2) {
		const struct iovec *piece = (const struct iovec *)second;
		/* One piece is all that the node gives; what it writes so is to be on the disk on return. */
		if (third == 1)
			result = pwrite64(first, piece->iov_base, piece->iov_len, registers[REG_R10]);
		if (result >= 0 && fdatasync(first) != 0)
			result = -1;
	} else {
		char from[PATH_MAX], to[PATH_MAX];
		absolute(from, first, (const char *)second);
		absolute(to, third, (const char *)registers[REG_R10]);
		result = rename(from, to);
	}
	registers[REG_RAX] = result < 0 ? -errno : result;
	errno = saved;
}

static void trap(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pwritev2, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_renameat, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_renameat2, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof filter / sizeof *filter, filter };
	struct sigaction action = { .sa_sigaction = on_call, .sa_flags = SA_SIGINFO | SA_NODEFER };
	if (sigaction(SIGSYS, &action, NULL) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		abort();
}
