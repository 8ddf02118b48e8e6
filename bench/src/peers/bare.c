/*
 * The limit: the device-mapper ioctls of a snapshot that is activated, of a removal, and a program's
 * start, with nothing around them. Reads one command a line, answers with how many nanoseconds it took.
 * A tab stands between words.
 *
 *   snap POOL_UUID ORIGIN_ID ID T POOL_DEV SECTORS NAME UUID   five ioctls
 *   keep POOL_UUID ORIGIN_ID ID T POOL_DEV SECTORS NAME UUID LOG
 *        the same by a program that records durably what it makes, and whose event loop does not wait for a
 *        disk: the record is written to LOG, then a thread syncs it and issues the ioctls
 *   drop POOL_UUID ID T UUID                                   three ioctls
 *   spawn PROGRAM ARGUMENT...                                  vfork, exec and wait
 *
 * T is the pool's transaction id before the command. A failure is "error TEXT", and the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
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

/* The log of what is made, and the thread that waits for disks. */
static int record = -1;
static sem_t asked;
static int answered;
static char **asked_words;

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

static void issue(unsigned long command, const char *what) {
  if (ioctl(control, command, buffer) < 0) fail(what);
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

/* The log has its full size from the beginning, as the engine's. */
static void open_record(const char *path) {
  static const char page[PAGE_BYTES];
  if (record >= 0) close(record);
  record = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (record < 0) fail(path);
  for (off_t at = 0; at < LOG_BYTES; at += FRAME_HEADER_BYTES + PAGE_BYTES)
    if (pwrite(record, page, sizeof page, at) != sizeof page) fail(path);
  if (fdatasync(record) < 0) fail(path);
}

/* What SQLite does for the engine's record of a snapshot: two pages of its log, each with a header. */
static void write_record(const char *path) {
  static const char page[PAGE_BYTES];
  static off_t at;
  if (at >= LOG_BYTES) at = 0;
  for (int index = 0; index < COMMIT_PAGES; index++) {
    if (pwrite(record, page, FRAME_HEADER_BYTES, at) != FRAME_HEADER_BYTES) fail(path);
    if (pwrite(record, page, PAGE_BYTES, at + FRAME_HEADER_BYTES) != PAGE_BYTES) fail(path);
    at += FRAME_HEADER_BYTES + PAGE_BYTES;
  }
}

static void *wait_for_disks(void *nothing) {
  uint64_t one = 1;
  while (sem_wait(&asked) == 0) {
    if (fdatasync(record) < 0) fail("fdatasync");
    snap(asked_words);
    if (write(answered, &one, sizeof one) != sizeof one) fail("eventfd");
  }
  return nothing;
}

/* As a program with an event loop does it: two ways to be woken, and no work for anybody else. */
static void keep(char **words) {
  struct pollfd loop = {.events = POLLIN};
  uint64_t answers;
  write_record(words[9]);
  asked_words = words;
  sem_post(&asked);
  loop.fd = answered;
  if (poll(&loop, 1, -1) != 1 || read(answered, &answers, sizeof answers) != sizeof answers) fail("poll");
}

static void prepare_keeping(const char *path) {
  static char opened[256];
  if (strcmp(opened, path) == 0) return;
  if (record < 0) {
    pthread_t thread;
    answered = eventfd(0, EFD_CLOEXEC);
    if (answered < 0 || sem_init(&asked, 0, 0) < 0) fail("eventfd");
    errno = pthread_create(&thread, NULL, wait_for_disks, NULL);
    if (errno != 0) fail("pthread_create");
  }
  open_record(path);
  snprintf(opened, sizeof opened, "%s", path);
}

static unsigned long long timed(void (*command)(char **), char **words) {
  unsigned long long start = now();
  command(words);
  return now() - start;
}

static unsigned long long spawn(char **words) {
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
  return end - start;
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
    unsigned long long taken = 0;
    if (count == 9 && strcmp(words[0], "snap") == 0) taken = timed(snap, words);
    else if (count == 5 && strcmp(words[0], "drop") == 0) taken = timed(drop, words);
    else if (count == 10 && strcmp(words[0], "keep") == 0) {
      prepare_keeping(words[9]);
      taken = timed(keep, words);
    } else if (count > 1 && strcmp(words[0], "spawn") == 0) taken = spawn(words);
    else {
      errno = EINVAL;
      fail("the command");
    }
    printf("%llu\n", taken);
    fflush(stdout);
  }
  return 0;
}
