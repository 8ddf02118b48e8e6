/*
 * The limit: the device-mapper ioctls of a snapshot that is activated, of a removal, and a program's
 * start, with nothing around them. Reads one command a line, answers with one line of nanoseconds.
 * A tab stands between words.
 *
 *   snap POOL_UUID ORIGIN_ID ID T POOL_DEV SECTORS NAME UUID   five times, one for each ioctl
 *   drop POOL_UUID ID T UUID                                   three times, one for each ioctl
 *   commit FILE                                                one time: what a durable record takes
 *   spawn PROGRAM ARGUMENT...                                  one time: vfork, exec and wait
 *
 * T is the pool's transaction id before the command. A failure is "error TEXT", and the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_WORDS 64
#define BUFFER_BYTES 1024
#define PAGE_BYTES 4096
/* https://sqlite.org/fileformat2.html#walformat */
#define FRAME_HEADER_BYTES 24
#define COMMIT_PAGES 2
#define LOG_BYTES (256 * (FRAME_HEADER_BYTES + PAGE_BYTES))

extern char **environ;
static int control;
static _Alignas(8) char buffer[BUFFER_BYTES];
static struct dm_ioctl *const request = (struct dm_ioctl *)buffer;

static void fail(const char *what) {
  printf("error %s: %s\n", what, strerror(errno));
  exit(1);
}

static unsigned long long now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (unsigned long long)time.tv_sec * 1000000000ULL + (unsigned long long)time.tv_nsec;
}

static void begin(const char *uuid) {
  memset(buffer, 0, BUFFER_BYTES);
  request->version[0] = 4;
  request->version[1] = 2;
  request->data_size = BUFFER_BYTES;
  request->data_start = sizeof *request;
  snprintf(request->uuid, sizeof request->uuid, "%s", uuid);
}

/* Issues the request and prints how long it took. */
static void issue(unsigned long command, const char *what) {
  unsigned long long start = now();
  if (ioctl(control, command, buffer) < 0) fail(what);
  printf("%llu ", now() - start);
}

static void message(const char *pool_uuid, const char *text) {
  begin(pool_uuid);
  struct dm_target_msg *body = (struct dm_target_msg *)(buffer + sizeof *request);
  snprintf(body->message, 256, "%s", text);
  issue(DM_TARGET_MSG, text);
}

static void snap(char **w) {
  char text[256];
  unsigned long long t = strtoull(w[4], NULL, 10);
  snprintf(text, sizeof text, "create_snap %s %s", w[3], w[2]);
  message(w[1], text);
  begin(w[8]);
  snprintf(request->name, sizeof request->name, "%s", w[7]);
  issue(DM_DEV_CREATE, "DM_DEV_CREATE");
  begin(w[8]);
  request->target_count = 1;
  struct dm_target_spec *spec = (struct dm_target_spec *)(buffer + sizeof *request);
  spec->length = strtoull(w[6], NULL, 10);
  strcpy(spec->target_type, "thin");
  snprintf((char *)(spec + 1), 256, "%s %s", w[5], w[3]);
  spec->next = sizeof *spec + 256;
  issue(DM_TABLE_LOAD, "DM_TABLE_LOAD");
  begin(w[8]);
  issue(DM_DEV_SUSPEND, "DM_DEV_RESUME");
  snprintf(text, sizeof text, "set_transaction_id %llu %llu", t, t + 1);
  message(w[1], text);
}

static void drop(char **w) {
  char text[256];
  unsigned long long t = strtoull(w[3], NULL, 10);
  begin(w[4]);
  issue(DM_DEV_REMOVE, "DM_DEV_REMOVE");
  snprintf(text, sizeof text, "delete %s", w[2]);
  message(w[1], text);
  snprintf(text, sizeof text, "set_transaction_id %llu %llu", t, t + 1);
  message(w[1], text);
}

/*
 * What SQLite does for the engine's record of a snapshot: two pages of its log, each with a header, and one
 * fdatasync. The log has its full size from the beginning, and is written anew every 256 pages.
 */
static void commit(const char *path) {
  static char page[PAGE_BYTES];
  static int file = -1;
  static char opened[256];
  static off_t at;
  if (strcmp(opened, path) != 0) {
    if (file >= 0) close(file);
    file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0) fail(path);
    snprintf(opened, sizeof opened, "%s", path);
    for (at = 0; at < LOG_BYTES; at += FRAME_HEADER_BYTES + PAGE_BYTES)
      if (pwrite(file, page, sizeof page, at) != sizeof page) fail(path);
    if (fdatasync(file) < 0) fail(path);
    at = 0;
  }
  unsigned long long start = now();
  for (int index = 0; index < COMMIT_PAGES; index++) {
    if (pwrite(file, page, FRAME_HEADER_BYTES, at) != FRAME_HEADER_BYTES) fail(path);
    if (pwrite(file, page, PAGE_BYTES, at + FRAME_HEADER_BYTES) != PAGE_BYTES) fail(path);
    at += FRAME_HEADER_BYTES + PAGE_BYTES;
  }
  if (fdatasync(file) < 0) fail(path);
  printf("%llu ", now() - start);
  if (at >= LOG_BYTES) at = 0;
}

static void spawn(char **words) {
  pid_t child;
  int status;
  posix_spawn_file_actions_t quiet;
  posix_spawn_file_actions_init(&quiet);
  posix_spawn_file_actions_addopen(&quiet, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0);
  unsigned long long start = now();
  errno = posix_spawn(&child, words[1], &quiet, NULL, words + 1, environ);
  if (errno != 0) fail(words[1]);
  if (waitpid(child, &status, 0) < 0) fail("waitpid");
  unsigned long long end = now();
  posix_spawn_file_actions_destroy(&quiet);
  errno = 0;
  if (status != 0) fail(words[1]);
  printf("%llu ", end - start);
}

int main(void) {
  static char line[65536];
  control = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
  if (control < 0) fail("/dev/mapper/control");
  while (fgets(line, sizeof line, stdin) != NULL) {
    char *words[MAX_WORDS + 1] = {NULL};
    int count = 0;
    for (char *word = strtok(line, "\t\n"); word != NULL && count < MAX_WORDS; word = strtok(NULL, "\t\n"))
      words[count++] = word;
    if (count == 9 && strcmp(words[0], "snap") == 0) snap(words);
    else if (count == 5 && strcmp(words[0], "drop") == 0) drop(words);
    else if (count == 2 && strcmp(words[0], "commit") == 0) commit(words[1]);
    else if (count > 1 && strcmp(words[0], "spawn") == 0) spawn(words);
    else {
      errno = EINVAL;
      fail("the command");
    }
    putchar('\n');
    fflush(stdout);
  }
  return 0;
}
