// Random tables, rows and ubatches through callback.c, with every array exactly as large as it says: built with the address
// and undefined-behaviour sanitisers, so that one byte outside any of them ends the run.
//
// Checked beside that: a decode cut into ubatches gives what the same decode gives whole, to the bit; rows without a slot
// are never changed; more rows than were submitted are refused and touch nothing.

#include "callback.c"

#include <stdio.h>
#include <stdlib.h>

typedef struct {
  char name[40];
  float *data;
  int64_t elements;
} tensor;

static const char *name_of(const void *t) { return ((const tensor *)t)->name; }
static int64_t elements_of(const void *t) { return ((const tensor *)t)->elements; }

static void inside(const tensor *t, size_t at, size_t size) {
  if (at + size > (size_t)t->elements * sizeof(float)) {
    fprintf(stderr, "the callback went outside of a tensor\n");
    abort();
  }
}

static void get(const void *t, void *out, size_t at, size_t size) {
  inside(t, at, size);
  memcpy(out, (const char *)((const tensor *)t)->data + at, size);
}

static void set(void *t, const void *in, size_t at, size_t size) {
  inside(t, at, size);
  memcpy((char *)((tensor *)t)->data + at, in, size);
}

static uint64_t seed;

static uint32_t next(void) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(seed >> 33);
}

static int32_t upto(int32_t most) { return (int32_t)(next() % (uint32_t)(most + 1)); }
static float real(void) { return (float)((int32_t)(next() % 2001u) - 1000) / 250.0f; }

static void *room(size_t n) {
  void *p = calloc(n ? n : 1, 1);
  if (!p) abort();
  return p;
}

static float *reals(size_t n) {
  float *p = room(n * sizeof(float));
  for (size_t i = 0; i < n; i++) p[i] = real();
  return p;
}

static void check(int holds, const char *what) {
  if (!holds) {
    fprintf(stderr, "%s\n", what);
    abort();
  }
}

typedef struct {
  float *projections, *fired;
  double *sums;
  uint8_t *open;
  int32_t *cursor;
} outcome;

static void fresh(state *s, outcome *o, int32_t sums) {
  s->projections = o->projections = room(sizeof(float) * s->layers * s->max_rows * s->directions);
  s->fired = o->fired = room(sizeof(float) * s->max_rows * (s->columns ? s->columns : 1));
  s->sums = o->sums = room(sizeof(double) * sums * s->layers * s->hidden);
  s->open = o->open = room((size_t)s->max_rows * (s->flags ? s->flags : 1));
  s->cursor = o->cursor = room(sizeof(int32_t) * s->layers);
  s->failed = 0;
}

static void dispose(outcome *o) {
  free(o->projections), free(o->fired), free(o->sums), free(o->open), free(o->cursor);
}

// All layers of one decode; `cuts`: at most so many rows a ubatch, 0 for all at once.
static void decode(state *s, float **h, int32_t cuts) {
  for (int32_t layer = 0; layer < s->layers; layer++) {
    const int32_t rows = layer == s->layers - 1 ? s->outputs : s->rows;
    for (int32_t at = 0; at < rows;) {
      const int32_t n = cuts && rows - at > 1 ? 1 + upto(rows - at - 1 < cuts - 1 ? rows - at - 1 : cuts - 1) : rows - at;
      tensor t = {.data = h[layer] + (size_t)at * s->hidden, .elements = (int64_t)n * s->hidden};
      snprintf(t.name, sizeof t.name, "l_out-%d", (int)layer);
      const _Bool wanted = homing_callback(&t, 1, s);
      check(wanted == (s->want[layer] != 0), "a layer was asked for that is not wanted, or was not asked for");
      if (wanted) check(homing_callback(&t, 0, s), "the callback ended the evaluation");
      at += n;
    }
  }
}

static void once(void) {
  state s = {.get_name = name_of, .tensor_get = get, .tensor_set = set, .elements = elements_of};
  s.hidden = 1 + upto(69), s.layers = 1 + upto(3), s.max_rows = 1 + upto(39);
  s.rows = 1 + upto(s.max_rows - 1), s.outputs = upto(s.rows), s.directions = upto(3);
  s.slots = upto(4), s.flags = upto(2), s.columns = upto(5);
  const int32_t vectors = 1 + upto(3), sums = 1 + upto(3);

  uint8_t *want = room(s.layers), *reads = room(s.max_rows);
  int32_t *slot = room(sizeof(int32_t) * s.max_rows), *span = room(sizeof(int32_t) * s.max_rows);
  int32_t *sum = room(sizeof(int32_t) * s.max_rows), *output_row = room(sizeof(int32_t) * s.max_rows);
  for (int32_t i = 0; i < s.layers; i++) want[i] = (uint8_t)upto(7);
  for (int32_t i = 0, k = 0; i < s.max_rows; i++) {
    reads[i] = (uint8_t)upto(1), slot[i] = upto(s.slots + 1) - 1, span[i] = upto(2), sum[i] = upto(sums) - 1;
    // which rows are outputs: as many as asked for, in order
    if (i < s.rows && k < s.outputs && upto(s.rows - i - 1) < s.outputs - k) output_row[k++] = i;
  }
  const int32_t places = s.layers * (s.slots + 1);
  int32_t *op_at = room(sizeof(int32_t) * places), *gate_at = room(sizeof(int32_t) * places), ops = 0, gates = 0;
  for (int32_t i = 0; i < places; i++) {
    op_at[i] = ops, gate_at[i] = gates;
    if (i % (s.slots + 1) == s.slots) continue;
    ops += s.columns ? upto(3) : 0;
    gates += s.flags ? upto(2) : 0;
  }
  op_t *op = room(sizeof(op_t) * ops);
  gate_t *gate = room(sizeof(gate_t) * gates);
  for (int32_t i = 0; i < ops; i++)
    op[i] = (op_t){upto(3), upto(vectors - 1), real(), real(), upto(s.flags) - 1, upto(7), upto(s.columns - 1)};
  for (int32_t i = 0; i < gates; i++) gate[i] = (gate_t){upto(vectors - 1), real(), upto(1), upto(s.flags - 1)};
  float *acting = reals((size_t)vectors * s.hidden), *reading = reals((size_t)s.layers * s.directions * s.hidden);
  float *buffer = room(sizeof(float) * s.max_rows * s.hidden);
  s.want = want, s.reads = reads, s.slot = slot, s.span = span, s.sum = sum, s.output_row = output_row;
  s.ops = op, s.op_at = op_at, s.gates = gate, s.gate_at = gate_at, s.vectors = acting, s.read_vectors = reading;
  s.buffer = buffer;

  float *start[4], *whole[4], *cut[4];
  for (int32_t i = 0; i < s.layers; i++) {
    const size_t n = (size_t)(i == s.layers - 1 ? s.outputs : s.rows) * s.hidden;
    start[i] = reals(n), whole[i] = room(n * sizeof(float)), cut[i] = room(n * sizeof(float));
    memcpy(whole[i], start[i], n * sizeof(float)), memcpy(cut[i], start[i], n * sizeof(float));
  }
  outcome a, b;
  fresh(&s, &a, sums);
  decode(&s, whole, 0);
  check(!s.failed, "a whole decode failed");
  fresh(&s, &b, sums);
  decode(&s, cut, 1 + upto(s.max_rows));
  check(!s.failed, "a decode in ubatches failed");
  for (int32_t i = 0; i < s.layers; i++) {
    const int32_t rows = i == s.layers - 1 ? s.outputs : s.rows;
    check(!memcmp(whole[i], cut[i], sizeof(float) * rows * s.hidden), "ubatches changed a row");
    for (int32_t r = 0; r < rows; r++) {
      const int32_t row = i == s.layers - 1 && s.outputs != s.rows ? output_row[r] : r;
      const size_t at = (size_t)r * s.hidden;
      if (slot[row] < 0 || slot[row] >= s.slots || !(want[i] & WANT_ACT))
        check(!memcmp(whole[i] + at, start[i] + at, sizeof(float) * s.hidden), "a row without a slot was changed");
    }
  }
  check(!memcmp(a.projections, b.projections, sizeof(float) * s.layers * s.max_rows * s.directions), "readings differ");
  check(!memcmp(a.fired, b.fired, sizeof(float) * s.max_rows * s.columns), "what fired differs");
  check(!memcmp(a.sums, b.sums, sizeof(double) * sums * s.layers * s.hidden), "sums differ");

  // one ubatch more than was submitted
  for (int32_t i = 0; i < s.layers; i++) {
    if (!want[i]) continue;
    const int32_t n = s.max_rows + 1 + upto(3);
    tensor t = {.data = room(sizeof(float) * n * s.hidden), .elements = (int64_t)n * s.hidden};
    snprintf(t.name, sizeof t.name, "l_out-%d", (int)i);
    s.failed = 0;
    check(homing_callback(&t, 0, &s) && s.failed == i + 1, "more rows than were submitted were not refused");
    free(t.data);
  }
  // names that are none of ours
  static const char *names[] = {"", "l", "l_out-", "l_out", "l_out--1", "l_out-1 ", "l_out-4x", "l_out-99999999999999999",
                                "norm-0", "l_out-100", "L_out-0", "l_out-+1"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    tensor t = {.data = NULL, .elements = 0};
    snprintf(t.name, sizeof t.name, "%s", names[i]);
    check(!homing_callback(&t, 1, &s) && homing_callback(&t, 0, &s), "another tensor was asked for");
  }
  dispose(&a), dispose(&b);
  for (int32_t i = 0; i < s.layers; i++) free(start[i]), free(whole[i]), free(cut[i]);
  free(want), free(reads), free(slot), free(span), free(sum), free(output_row), free(op_at), free(gate_at), free(op);
  free(gate), free(acting), free(reading), free(buffer);
}

int main(int argc, char **argv) {
  const int rounds = argc > 1 ? atoi(argv[1]) : 1000;
  for (int i = 0; i < rounds; i++) {
    seed = 0x9e3779b97f4a7c15u * (uint64_t)(i + 1);
    once();
  }
  printf("%d rounds\n", rounds);
  return 0;
}
