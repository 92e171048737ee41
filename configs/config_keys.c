#include "configs/config_keys.h"

#include "base/nearest.h"
#include "base/workers.h"
#include "learner/dropout.h"

#include <string.h>

#define MS_SECOND INT64_C(1000)
#define MS_MINUTE (60 * MS_SECOND)
#define MS_HOUR   (60 * MS_MINUTE)
#define MS_DAY    (24 * MS_HOUR)
#define MIB       (INT64_C(1) << 20)
#define TIB       (INT64_C(1) << 40)
/* Numbers survive any tool that reads YAML numbers as doubles. */
#define INT_MAX_SAFE (INT64_C(1) << 53)

#define IN(type, member)                                                                           \
    .offset = (uint32_t)offsetof(struct type, member),                                             \
    .size = (uint32_t)sizeof(((struct type *)0)->member)
#define AT(member)          IN(config, member)
#define RANGE(low, high)    .min = (low), .max = (high)
#define REALS(low, high)    .real_min = (low), .real_max = (high)
#define COUNT(type, member) .count_offset = (uint32_t)offsetof(struct type, member)
#define SECTION(name, text)                                                                        \
    {                                                                                              \
        .path = name, .type = CONFIG_SECTION, .doc = text                                          \
    }
#define HIDDEN_LAYERS RANGE(1, 8192)

static const char *const names_group[] = {"user", "candidate", "context", NULL};
static const char *const names_pool[] = {"sum", "mean", NULL};
static const char *const names_kinds[] = {"impression", "click", "behavior", "forget", NULL};
static const char *const names_by[] = {"id", "user_item", NULL};
static const char *const names_emit[] = {"click", "deadline", NULL};
static const char *const names_model[] = {"base", "din", NULL};
static const char *const names_activation[] = {"sigmoid", "relu", "tanh", "prelu", "dice", NULL};
static const char *const names_input[] = {"paper", "official", NULL};
static const char *const names_normalize[] = {"none",   "softmax",        "sqrt_dim",
                                              "length", "scaled_softmax", NULL};
static const char *const names_dice[] = {"batch", "running", "auto", NULL};
static const char *const names_optimizer[] = {"sgd", "adagrad", "adam", "ftrl", NULL};
static const char *const names_decay[] = {"constant", "exponential", "inverse_sqrt", "linear",
                                          NULL};
static const char *const names_regularizer[] = {"none", "mba", "l2", "difacto", NULL};
static const char *const names_form[] = {"once", "count", NULL};
static const char *const names_counter[] = {"running", "window", "projected", "fixed", NULL};

static const struct config_key keys[] = {
    {.path = "tables",
     .type = CONFIG_MAP,
     .fallback = "{}",
     .min = 1,
     .max = SCHEMA_DIM_MAX,
     .doc = "Embedding tables: the name of each and its width in floats, `video: 18`. Fields may "
            "share a table; the steps of a sequence always share the tables of the candidate."},

    {.path = "fields",
     .type = CONFIG_LIST,
     .fallback = "[]",
     .doc = "The features of an impression, in the order in which the model sees them."},
    {.path = "fields[].name",
     .type = CONFIG_STRING,
     IN(config_field, name),
     RANGE(1, 47),
     .doc = "Member of the event's `profile`, `candidate` or `context` that holds the value."},
    {.path = "fields[].of",
     .type = CONFIG_ENUM,
     IN(config_field, of),
     .names = names_group,
     .doc = "What the field describes: the user (member of `profile`), the candidate ad (member of "
            "`candidate`, and of a behaviour's `item`), or the context."},
    {.path = "fields[].table",
     .type = CONFIG_STRING,
     IN(config_field, table),
     RANGE(0, 47),
     .fallback = "",
     .doc = "Table that holds the field's embeddings. Empty: the table of the field's own name."},
    {.path = "fields[].multi",
     .type = CONFIG_INT,
     IN(config_field, multi),
     RANGE(1, SCHEMA_VALUES_MAX),
     .fallback = "1",
     .doc = "Ids that the field holds at most. Above 1 the field is multi-hot and its value may be "
            "an array; further ids are dropped and counted."},
    {.path = "fields[].pool",
     .type = CONFIG_ENUM,
     IN(config_field, pool),
     .names = names_pool,
     .fallback = "sum",
     .doc = "How the embeddings of several ids become one vector."},
    {.path = "fields[].user_id",
     .type = CONFIG_BOOL,
     IN(config_field, user_id),
     .fallback = "false",
     .doc = "The field takes the event's `user` instead of a member of `profile`."},

    {.path = "behaviors",
     .type = CONFIG_NAMES,
     AT(schema.behaviors),
     COUNT(config, schema.n_behaviors),
     .fallback = "[]",
     .doc = "Values of `type` by which behaviour events may feed a sequence, `[cart, "
            "long_view]`. Behaviours of other types are filtered and counted."},

    {.path = "sequences",
     .type = CONFIG_LIST,
     .fallback = "[]",
     .doc = "What is remembered of every user: the newest steps of each sequence."},
    {.path = "sequences[].name",
     .type = CONFIG_STRING,
     IN(config_sequence, name),
     RANGE(1, 47),
     .doc = "Name of the sequence."},
    {.path = "sequences[].fields",
     .type = CONFIG_NAMES,
     IN(config_sequence, fields.name),
     COUNT(config_sequence, fields.n),
     .doc = "Candidate fields that a step carries."},
    {.path = "sequences[].length",
     .type = CONFIG_INT,
     IN(config_sequence, length),
     RANGE(1, SCHEMA_LENGTH_MAX),
     .fallback = "50",
     .doc = "Newest steps that an example sees."},
    {.path = "sequences[].from",
     .type = CONFIG_NAMES,
     IN(config_sequence, from.name),
     COUNT(config_sequence, from.n),
     .fallback = "[click]",
     .doc = "Events that become steps: `click` (the clicked candidate) and any of `behaviors`."},

    {.path = "topics",
     .type = CONFIG_LIST,
     .fallback = "[]",
     .doc =
         "Kafka topics that `undine run` reads, and the kinds of event that each carries. All of "
         "them must be partitioned by user in the same way."},
    {.path = "topics[].name",
     .type = CONFIG_STRING,
     IN(config_topic, name),
     RANGE(1, SOURCE_TOPIC_MAX - 1),
     .doc = "Name of the topic."},
    {.path = "topics[].kinds",
     .type = CONFIG_FLAGS,
     IN(config_topic, kinds),
     .names = names_kinds,
     .doc = "Kinds of event that the topic may carry; others are malformed there."},

    {.path = "brokers",
     .type = CONFIG_STRING,
     AT(brokers),
     RANGE(0, 1023),
     .fallback = "",
     .doc = "Kafka brokers to start from, `host:port,host:port`. `undine run` needs it."},
    {.path = "group",
     .type = CONFIG_STRING,
     AT(group),
     RANGE(1, 255),
     .fallback = "undine",
     .doc = "Consumer group under which the position is shown to lag tools. Only a display: where "
            "to go on is remembered in the store."},
    {.path = "kafka",
     .type = CONFIG_MAP,
     .fallback = "{}",
     .doc = "Passed on to librdkafka as it stands, `sasl.username: undine`. Keys that "
            "exactly-once rests on are refused. Passwords belong in a file or in the environment: "
            "`sasl.password: {file: /run/secrets/kafka}`, `sasl.password: ${KAFKA_PASSWORD}`."},

    SECTION("shard", "One of several processes that share the partitions of the topics."),
    {.path = "shard.index",
     .type = CONFIG_INT,
     AT(ingest.shard),
     RANGE(0, 4095),
     .fallback = "0",
     .fixed = true,
     .doc = "This process owns partition p where p % count == index."},
    {.path = "shard.count",
     .type = CONFIG_INT,
     AT(ingest.n_shards),
     RANGE(1, 4096),
     .fallback = "1",
     .fixed = true,
     .doc = "Processes that share the partitions."},

    SECTION("ingest", "How events are read and committed. None of it changes what is learned."),
    {.path = "ingest.message_bytes_max",
     .type = CONFIG_BYTES,
     AT(decode.message_bytes_max),
     RANGE(256, 64 * MIB),
     .fallback = "1MiB",
     .doc = "Longest event; a longer one is malformed (`too_long`)."},
    {.path = "ingest.poll_max",
     .type = CONFIG_INT,
     AT(ingest.loop.poll_max),
     RANGE(1, 100000),
     .fallback = "1000",
     .doc = "Messages that one poll takes from a partition."},
    {.path = "ingest.poll_timeout",
     .type = CONFIG_DURATION,
     AT(ingest.loop.poll_timeout_ms),
     RANGE(1, 10 * MS_SECOND),
     .fallback = "20ms",
     .doc = "How long a poll waits where nothing has arrived."},
    {.path = "ingest.commit_actions_max",
     .type = CONFIG_INT,
     AT(ingest.loop.commit_actions_max),
     RANGE(1, 1000000),
     .fallback = "10000",
     .doc = "Events and deadlines that one commit applies."},
    {.path = "ingest.backlog_max",
     .type = CONFIG_INT,
     AT(ingest.loop.backlog_max),
     RANGE(1000, INT_MAX_SAFE),
     .fallback = "1000000",
     .doc = "Examples by which the learner may be behind before ingest waits for it; at least "
            "`learner.batch`."},
    {.path = "ingest.malformed_samples",
     .type = CONFIG_INT,
     AT(ingest.loop.malformed_samples),
     RANGE(0, 10000),
     .fallback = "100",
     .doc = "Newest malformed messages that are kept for `undine inspect malformed`."},

    SECTION("order", "Events are applied in the order of their time, once the watermark has passed "
                     "them. Watermark: the newest event time of the partition that is furthest "
                     "behind, less the lateness."),
    {.path = "order.lateness",
     .type = CONFIG_DURATION,
     AT(ingest.order.lateness_ms),
     RANGE(0, 7 * MS_DAY),
     .fallback = "10s",
     .doc = "How far events of one partition may be out of order. Everything waits this long; an "
            "event that is later still is dropped and counted."},
    {.path = "order.max_future",
     .type = CONFIG_DURATION,
     AT(ingest.order.max_future_ms),
     RANGE(-1, 365 * MS_DAY),
     .fallback = "10m",
     .doc =
         "Events further ahead of their Kafka record's timestamp, or of the wall clock, are "
         "malformed "
         "(`future`), so that one bad clock cannot expire everything. `off`: any time is taken."},
    {.path = "order.idle_timeout",
     .type = CONFIG_DURATION,
     AT(ingest.order.idle_timeout_ms),
     RANGE(100, MS_DAY),
     .fallback = "30s",
     .doc = "A partition that is at its end and silent for this long (wall time) does not hold the "
            "watermark back."},
    {.path = "order.waiting_max",
     .type = CONFIG_INT,
     AT(ingest.order.waiting_max),
     RANGE(1000, INT_MAX_SAFE),
     .fallback = "1000000",
     .doc = "Events that may wait for the watermark; at this bound only the partition furthest "
            "behind is read."},

    SECTION("join", "How impressions get their labels."),
    {.path = "join.by",
     .type = CONFIG_ENUM,
     AT(ingest.join.by),
     .names = names_by,
     .fallback = "id",
     .fixed = true,
     .doc = "What a click names: the impression's `id`, or `user_item`: the user and the first "
            "candidate field's id."},
    {.path = "join.emit",
     .type = CONFIG_ENUM,
     AT(ingest.join.emit),
     .names = names_emit,
     .fallback = "click",
     .fixed = true,
     .doc =
         "When a positive is learned: at its `click`, or at the `deadline` like a negative, which "
         "is later but shifts no class in time."},
    {.path = "join.window",
     .type = CONFIG_DURATION,
     AT(ingest.join.window_ms),
     RANGE(1, 90 * MS_DAY),
     .fallback = "10m",
     .fixed = true,
     .doc = "Attribution window: an impression without a click for so long is a negative."},
    {.path = "join.memory",
     .type = CONFIG_DURATION,
     AT(ingest.join.memory_ms),
     RANGE(0, 90 * MS_DAY),
     .fallback = "1h",
     .fixed = true,
     .doc = "How long past its window an impression is still known, to recognise duplicates and "
            "late clicks."},
    {.path = "join.pending_max",
     .type = CONFIG_BYTES,
     AT(ingest.join.pending_max_bytes),
     RANGE(MIB, TIB),
     .fallback = "4GiB",
     .doc =
         "Bound on the memory of the impressions that are still known. None of them can go before "
         "its time, so at this bound the daemon stops; nothing is lost, it goes on under a "
         "larger one."},
    {.path = "join.negative_rate",
     .type = CONFIG_REAL,
     AT(ingest.join.negative_rate),
     REALS(1e-6, 1),
     .fallback = "1",
     .fixed = true,
     .doc = "Share of negatives that are learned, chosen by a hash of the impression's id. The "
            "logit is corrected for it, so scores stay calibrated."},
    {.path = "join.negative_seed",
     .type = CONFIG_INT,
     AT(ingest.join.negative_seed),
     RANGE(0, INT_MAX_SAFE),
     .fallback = "0",
     .fixed = true,
     .doc = "Seed of that hash."},

    SECTION("store", "The store on disk (RocksDB)."),
    {.path = "store.cache",
     .type = CONFIG_BYTES,
     AT(store.cache_bytes),
     RANGE(MIB, TIB),
     .fallback = "64MiB",
     .doc = "Memory for blocks that were read."},
    {.path = "store.write_buffer",
     .type = CONFIG_BYTES,
     AT(store.write_buffer_bytes),
     RANGE(4 * MIB, TIB),
     .fallback = "64MiB",
     .doc = "Memory for what is not yet in tables."},
    {.path = "store.sync_interval",
     .type = CONFIG_DURATION,
     AT(ingest.loop.sync_interval_ms),
     RANGE(0, MS_HOUR),
     .fallback = "100ms",
     .doc = "Commits survive a power failure after this time at the latest (a crash of the program "
            "loses none in any case). 0: every commit is synced."},

    SECTION("users", "Behaviour sequences in memory."),
    {.path = "users.cache",
     .type = CONFIG_BYTES,
     AT(users.cache_bytes),
     RANGE(MIB, TIB),
     .fallback = "256MiB",
     .doc = "Memory for users; the others wait in the store."},

    SECTION("model",
            "What is learned. A change needs an empty state directory (else exit code 4)."),
    {.path = "model.kind",
     .type = CONFIG_ENUM,
     AT(trainer.model.kind),
     .names = names_model,
     .fallback = "din",
     .doc = "`din`: Deep Interest Network, each step weighted for the candidate. `base`: all steps "
            "pooled alike."},
    {.path = "model.pool",
     .type = CONFIG_ENUM,
     AT(trainer.model.base_pool),
     .names = names_pool,
     .fallback = "sum",
     .doc = "`base`: how the steps become one vector."},
    {.path = "model.seed",
     .type = CONFIG_INT,
     AT(trainer.model.seed),
     RANGE(0, INT_MAX_SAFE),
     .fallback = "1",
     .doc = "Initial weights are a function of it and of the names alone."},
    {.path = "model.prelu_alpha",
     .type = CONFIG_REAL,
     AT(trainer.model.prelu_alpha),
     REALS(0, 1),
     .fallback = "0.1",
     .doc = "PReLU: initial slope of the negative side."},
    {.path = "model.linear",
     .type = CONFIG_BOOL,
     AT(trainer.model.linear),
     .fallback = "false",
     .doc =
         "A linear part beside the layers (Wide & Deep, DeepFM's first order term): each id of a "
         "field has one more number in its row, begun at 0, and their pooled sum joins the "
         "logit."},
    SECTION("model.unit", "`din`: the local activation unit."),
    {.path = "model.unit.input",
     .type = CONFIG_ENUM,
     AT(trainer.model.unit.input),
     .names = names_input,
     .fallback = "paper",
     .doc = "What the unit sees of a step h and the candidate c: `paper` [h, h*c, c], `official` "
            "(the authors' code) [c, h, c-h, c*h]."},
    {.path = "model.unit.hidden",
     .type = CONFIG_INTS,
     AT(trainer.model.unit.hidden),
     COUNT(config, trainer.model.unit.n_hidden),
     HIDDEN_LAYERS,
     .fallback = "[36]",
     .doc = "Widths of its hidden layers."},
    {.path = "model.unit.activation",
     .type = CONFIG_ENUM,
     AT(trainer.model.unit.activation),
     .names = names_activation,
     .fallback = "dice",
     .doc = "Activation of its hidden layers."},
    {.path = "model.unit.normalize",
     .type = CONFIG_ENUM,
     AT(trainer.model.unit.normalize),
     .names = names_normalize,
     .fallback = "none",
     .doc = "What is done to the weights a of a sequence: nothing (the paper), `softmax`, "
            "`sqrt_dim`: division by the root of the step's width E, `length`: division by the "
            "number of steps, `scaled_softmax` (the authors' code): softmax of a / sqrt(E)."},
    SECTION("model.mlp", "The layers on top."),
    {.path = "model.mlp.hidden",
     .type = CONFIG_INTS,
     AT(trainer.model.mlp.hidden),
     COUNT(config, trainer.model.mlp.n_hidden),
     HIDDEN_LAYERS,
     .fallback = "[200, 80]",
     .doc = "Widths of the hidden layers."},
    {.path = "model.mlp.activation",
     .type = CONFIG_ENUM,
     AT(trainer.model.mlp.activation),
     .names = names_activation,
     .fallback = "dice",
     .doc = "Activation of the hidden layers."},
    SECTION("model.dice", "The activation `dice`."),
    {.path = "model.dice.mode",
     .type = CONFIG_ENUM,
     AT(trainer.model.dice.mode),
     .names = names_dice,
     .fallback = "auto",
     .doc = "Statistics in training: of the batch, running, or `auto`: running where fewer than 32 "
            "rows are at hand. Scoring always takes the running ones."},
    {.path = "model.dice.eps",
     .type = CONFIG_REAL,
     AT(trainer.model.dice.eps),
     REALS(1e-12, 1),
     .fallback = "1e-08",
     .doc = "Added to the variance."},
    {.path = "model.dice.momentum",
     .type = CONFIG_REAL,
     AT(trainer.model.dice.momentum),
     REALS(0, 0.999999),
     .fallback = "0.99",
     .doc = "Share of the old value in running statistics."},
    {.path = "model.dice.alpha",
     .type = CONFIG_REAL,
     AT(trainer.model.dice.alpha),
     REALS(-1, 1),
     .fallback = "0",
     .doc = "Initial slope of the negative side."},

    SECTION("learner", "How it is learned."),
    {.path = "learner.batch",
     .type = CONFIG_INT,
     AT(trainer.batch_max),
     RANGE(1, 65536),
     .fallback = "256",
     .doc = "Examples of a mini-batch at most."},
    {.path = "learner.max_delay",
     .type = CONFIG_DURATION,
     AT(trainer.max_delay_ms),
     RANGE(1, 36500 * MS_DAY),
     .fallback = "10s",
     .doc = "A mini-batch closes when event time has moved on by this much, full or not, so that a "
            "slow stream is learned at once. Long for offline data: batches are then always full."},
    {.path = "learner.clip_norm",
     .type = CONFIG_REAL,
     AT(trainer.clip_norm),
     REALS(0, 1e6),
     .fallback = "5",
     .doc = "Largest norm of a mini-batch's whole gradient; 0 = no limit."},
    {.path = "learner.dropout",
     .type = CONFIG_REAL,
     AT(trainer.dropout),
     REALS(0, DROPOUT_RATE_MAX),
     .fallback = "0",
     .doc = "Share of an example's ids that is left out while it is trained, by chance but always "
            "the same ones; its prediction sees all. Costs a second look at each mini-batch."},
    {.path = "learner.row_scale",
     .type = CONFIG_REAL,
     AT(trainer.row_scale),
     REALS(0, 10),
     .fallback = "0.01",
     .doc = "Standard deviation of a new embedding's values."},
    {.path = "learner.metrics_window",
     .type = CONFIG_INT,
     AT(trainer.metrics_window),
     RANGE(1000, 100000000),
     .fallback = "200000",
     .doc = "Newest predictions over which windowed AUC and GAUC are computed."},
    {.path = "learner.memory_max",
     .type = CONFIG_BYTES,
     AT(trainer.memory_max_bytes),
     RANGE(MIB, TIB),
     .fallback = "4GiB",
     .doc = "Memory of the embedding tables; beyond it the program stops."},
    {.path = "learner.workers",
     .type = CONFIG_INT,
     AT(trainer.workers),
     RANGE(1, WORKERS_MAX),
     .fallback = "1",
     .doc = "Threads that share a mini-batch's work, the learner's own included. The model is the "
            "same for any number of them, to the bit; at most the cores that nothing else needs."},
    SECTION("learner.frozen", "Metrics of a model that stands still for a while."),
    {.path = "learner.frozen.sample",
     .type = CONFIG_REAL,
     AT(trainer.frozen.sample),
     REALS(0, 1),
     .fallback = "0.1",
     .doc = "Share of users, chosen by hash, whose examples are also scored by a model that stands "
            "still, for the `frozen` metrics; 0 = none. The model learned is the same."},
    {.path = "learner.frozen.block",
     .type = CONFIG_INT,
     AT(trainer.frozen.block),
     RANGE(1, 1000000000),
     .fallback = "20000",
     .doc = "`replay`: examples after which that model is taken anew; `run` takes it with every "
            "version that it writes."},
    SECTION("learner.optimizer", "The optimizer."),
    {.path = "learner.optimizer.kind",
     .type = CONFIG_ENUM,
     AT(trainer.optimizer.kind),
     .names = names_optimizer,
     .fallback = "adagrad",
     .doc = "`adam` moves only the rows that a batch touches. `ftrl`: FTRL-proximal."},
    {.path = "learner.optimizer.rate",
     .type = CONFIG_REAL,
     AT(trainer.optimizer.rate),
     REALS(1e-9, 10),
     .fallback = "0.03",
     .doc = "Learning rate of embeddings."},
    {.path = "learner.optimizer.dense_rate",
     .type = CONFIG_REAL,
     AT(trainer.optimizer.dense_rate),
     REALS(1e-9, 10),
     .fallback = "0.03",
     .doc = "Learning rate of everything else."},
    {.path = "learner.optimizer.eps",
     .type = CONFIG_REAL,
     AT(trainer.optimizer.eps),
     REALS(0, 1),
     .fallback = "1e-08",
     .doc = "Added to the divisor (Adagrad, Adam)."},
    {.path = "learner.optimizer.accumulator",
     .type = CONFIG_REAL,
     AT(trainer.optimizer.accumulator),
     REALS(0, 100),
     .fallback = "1e-06",
     .doc =
         "Adagrad: initial sum of squares. Gradients are means over the batch, so they are small: "
         "0.1, usual elsewhere, would all but stop learning."},
    {.path = "learner.optimizer.beta1",
     .type = CONFIG_REAL,
     AT(trainer.optimizer.beta1),
     REALS(0, 0.999999),
     .fallback = "0.9",
     .doc = "Adam: decay of the mean."},
    {.path = "learner.optimizer.beta2",
     .type = CONFIG_REAL,
     AT(trainer.optimizer.beta2),
     REALS(0, 0.99999999),
     .fallback = "0.999",
     .doc = "Adam: decay of the square."},
    {.path = "learner.optimizer.beta",
     .type = CONFIG_REAL,
     AT(trainer.optimizer.beta),
     REALS(1e-12, 1e6),
     .fallback = "1",
     .doc = "FTRL: added to the root of the sum of squares."},
    {.path = "learner.optimizer.l1",
     .type = CONFIG_REAL,
     AT(trainer.optimizer.l1),
     REALS(0, 1e6),
     .fallback = "0",
     .doc = "FTRL: weights whose gradients sum up to less are 0."},
    {.path = "learner.optimizer.l2",
     .type = CONFIG_REAL,
     AT(trainer.optimizer.l2),
     REALS(0, 1e6),
     .fallback = "0",
     .doc = "FTRL: pull towards 0."},
    {.path = "learner.optimizer.rates",
     .type = CONFIG_MAP,
     .fallback = "{}",
     .real_min = 1e-9,
     .real_max = 10,
     .doc = "Learning rates of tables that shall not have `rate`, `user: 0.01`."},
    {.path = "learner.optimizer.warmup",
     .type = CONFIG_INT,
     AT(trainer.schedule.warmup),
     RANGE(0, INT_MAX_SAFE),
     .fallback = "0",
     .doc = "Examples over which all rates rise from 0."},
    {.path = "learner.optimizer.decay",
     .type = CONFIG_ENUM,
     AT(trainer.schedule.decay),
     .names = names_decay,
     .fallback = "constant",
     .doc = "How all rates fall after that, e examples later: `exponential` by decay_rate ^ "
            "(e / decay_examples), `inverse_sqrt` by 1 / sqrt(1 + e / decay_examples), `linear` by "
            "1 - e / decay_examples."},
    {.path = "learner.optimizer.decay_rate",
     .type = CONFIG_REAL,
     AT(trainer.schedule.decay_rate),
     REALS(1e-9, 1),
     .fallback = "0.9",
     .doc = "`exponential`: what is left of the rates after each `decay_examples`."},
    {.path = "learner.optimizer.decay_examples",
     .type = CONFIG_INT,
     AT(trainer.schedule.decay_examples),
     RANGE(1, INT_MAX_SAFE),
     .fallback = "1000000",
     .doc = "Period of the decay."},
    {.path = "learner.optimizer.floor",
     .type = CONFIG_REAL,
     AT(trainer.schedule.floor),
     REALS(0, 1),
     .fallback = "0.1",
     .doc = "Least factor of the decay: an endless stream needs a rate that does not vanish."},
    SECTION("learner.regularizer", "What keeps embeddings small."),
    {.path = "learner.regularizer.kind",
     .type = CONFIG_ENUM,
     AT(trainer.regularizer.kind),
     .names = names_regularizer,
     .fallback = "mba",
     .doc = "`mba`: mini-batch aware (DIN paper, Eq. 4 to 7), by lambda / n at each touch of an id "
            "that n examples held. `l2`: every row by rate * lambda with every mini-batch, touched "
            "or not. `difacto`: by lambda at each touch."},
    {.path = "learner.regularizer.lambda",
     .type = CONFIG_REAL,
     AT(trainer.regularizer.lambda),
     REALS(0, 1000),
     .fallback = "0.01",
     .doc = "Strength; 0 = off."},
    {.path = "learner.regularizer.form",
     .type = CONFIG_ENUM,
     AT(trainer.regularizer.form),
     .names = names_form,
     .fallback = "once",
     .doc =
         "`mba`: an id in a mini-batch counts `once` (Eq. 6), or as often as examples of it hold "
         "it (Eq. 5)."},
    {.path = "learner.regularizer.decoupled",
     .type = CONFIG_BOOL,
     AT(trainer.regularizer.decoupled),
     .fallback = "false",
     .doc = "`mba`, `difacto`: `false`: added to the gradient before the optimizer. `true`: taken "
            "from the weight beside it. `l2` always is."},
    {.path = "learner.regularizer.counter",
     .type = CONFIG_ENUM,
     AT(trainer.regularizer.counts.mode),
     .names = names_counter,
     .fallback = "running",
     .doc =
         "`mba`: what n is. `running`: examples so far. `window`: those of the newest, older ones "
         "fading. `projected`: what a pass of `epoch` examples will hold. `fixed`: that of an "
         "earlier pass, read from `counts`."},
    {.path = "learner.regularizer.window",
     .type = CONFIG_INT,
     AT(trainer.regularizer.counts.window),
     RANGE(1000, INT_MAX_SAFE),
     .fallback = "1000000",
     .doc = "`window`: period in examples."},
    {.path = "learner.regularizer.decay",
     .type = CONFIG_REAL,
     AT(trainer.regularizer.counts.decay),
     REALS(1e-9, 0.999),
     .fallback = "0.5",
     .doc = "`window`: what is left of n after each period."},
    {.path = "learner.regularizer.epoch",
     .type = CONFIG_INT,
     AT(trainer.regularizer.counts.epoch),
     RANGE(1, INT_MAX_SAFE),
     .fallback = "1000000",
     .doc = "`projected`: examples of a pass."},
    {.path = "learner.regularizer.counts",
     .type = CONFIG_STRING,
     AT(trainer.regularizer.counts.counts),
     RANGE(0, INSTANCES_PATH_MAX - 1),
     .fallback = "",
     .doc =
         "`fixed`: directory of a version that a pass over the same examples wrote, best a copy: "
         "every start reads it, and refuses another one. Ids that it does not hold have n = 1."},

    SECTION("learner.guard",
            "When learning stops because the stream or the model is not believable: "
            "ingest goes on, the program ends with exit code 5."),
    {.path = "learner.guard.window",
     .type = CONFIG_INT,
     AT(trainer.guard.window),
     RANGE(1, INT_MAX_SAFE),
     .fallback = "10000",
     .doc = "Examples over which the three rates below are taken."},
    {.path = "learner.guard.label_rate_min",
     .type = CONFIG_REAL,
     AT(trainer.guard.label_rate_min),
     REALS(0, 1),
     .fallback = "0",
     .doc = "Least share of clicks among impressions: less, and clicks are being lost."},
    {.path = "learner.guard.label_rate_max",
     .type = CONFIG_REAL,
     AT(trainer.guard.label_rate_max),
     REALS(0, 1),
     .fallback = "1",
     .doc = "Largest share."},
    {.path = "learner.guard.calibration_min",
     .type = CONFIG_REAL,
     AT(trainer.guard.calibration_min),
     REALS(0, 1e6),
     .fallback = "0",
     .doc = "Least sum of predictions over number of clicks."},
    {.path = "learner.guard.calibration_max",
     .type = CONFIG_REAL,
     AT(trainer.guard.calibration_max),
     REALS(0, 1e6),
     .fallback = "0",
     .doc = "Largest; 0 = calibration is not looked at."},
    {.path = "learner.guard.missing_max",
     .type = CONFIG_REAL,
     AT(trainer.guard.missing_max),
     REALS(0, 1),
     .fallback = "1",
     .doc = "Largest share of features without a value; 1 = not looked at."},
    {.path = "learner.guard.skipped_max",
     .type = CONFIG_INT,
     AT(trainer.guard.skipped_max),
     RANGE(0, INT_MAX_SAFE),
     .fallback = "100",
     .doc =
         "Batches in a row that may be skipped because a loss or gradient was not finite; 0 = any "
         "number."},

    SECTION("snapshot", "Versions that `undine run` writes."),
    {.path = "snapshot.interval",
     .type = CONFIG_DURATION,
     AT(snapshot.interval_ms),
     RANGE(100, 7 * MS_DAY),
     .fallback = "1m",
     .doc = "Wall time between two versions."},
    {.path = "snapshot.keep",
     .type = CONFIG_INT,
     AT(snapshot.keep),
     RANGE(2, 10000),
     .fallback = "5",
     .doc = "Versions that are kept."},

    SECTION("http", "Metrics, health and scoring over HTTP."),
    {.path = "http.listen",
     .type = CONFIG_STRING,
     AT(http.listen),
     RANGE(0, 255),
     .fallback = "127.0.0.1:9187",
     .doc = "Address and port; empty = no HTTP."},
};

const struct config_key *config_keys(size_t *n)
{
    *n = sizeof keys / sizeof keys[0];
    return keys;
}

const struct config_key *config_key_find(const char *path)
{
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (strcmp(keys[i].path, path) == 0) {
            return &keys[i];
        }
    }
    return NULL;
}

bool config_key_in(const struct config_key *key, const char *prefix)
{
    size_t len = strlen(prefix);
    return strncmp(key->path, prefix, len) == 0 && key->path[len] != '\0' &&
           strpbrk(key->path + len, ".[") == NULL;
}

const char *config_key_name(const struct config_key *key)
{
    const char *dot = strrchr(key->path, '.');
    return dot != NULL ? dot + 1 : key->path;
}

const char *config_key_nearest(const char *path)
{
    const char *dot = strrchr(path, '.');
    struct nearest whole = nearest_of(path), name = nearest_of(dot != NULL ? dot + 1 : path);
    const char *by_name = NULL;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const char *before = name.name;
        nearest_offer(&whole, keys[i].path);
        nearest_offer(&name, config_key_name(&keys[i]));
        by_name = name.name != before ? keys[i].path : by_name;
    }
    /* A right name in the wrong section is nearer than a wrong one. */
    return by_name != NULL && name.distance < whole.distance ? by_name : whole.name;
}
