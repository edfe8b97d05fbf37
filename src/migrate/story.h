/*
 * What a migration will be remembered by: rounds, lanes, decisions, phases, the prediction.  Part of
 * struct stats, guarded by its lock; godwit_source_record copies it out.  Every decision is logged,
 * kept, and announced as GODWIT_EVENT_DECISION by the caller's thread.
 */
#ifndef GODWIT_MIGRATE_STORY_H
#define GODWIT_MIGRATE_STORY_H

#include "godwit/migrate.h"
#include "migrate/stats.h"

/* "throttle", "vCPU 1 withheld 20 %: it dirties 812 MB/s, the link takes 110 MB/s".  Said again with
 * the same words at once: not repeated. */
void story_decide(struct stats *st, const char *what, const char *why, ...)
    __attribute__((format(printf, 3, 4)));
void story_round_begin(struct stats *st, uint64_t dirty, uint64_t dirty_rate, uint64_t bandwidth,
                       uint64_t predicted_ns, uint32_t throttle);
void story_round_end(struct stats *st, uint64_t sent);
/* Percent that is withheld from now on. */
void story_throttle(struct stats *st, uint32_t throttle);
void story_lane(struct stats *st, uint32_t lane, const struct godwit_lane *now);
void story_phase(struct stats *st, enum godwit_phase phase, uint64_t ns);
/* What is known of them. */
void story_phases(struct stats *st, uint64_t out[GODWIT_PHASE_COUNT]);
void story_predict(struct stats *st, uint64_t downtime_ns, uint64_t total_ns);
void story_blackout(struct stats *st, uint64_t blackout_ns, uint64_t rtt_ns);
void story_id(struct stats *st, const uint8_t token[GODWIT_TOKEN_SIZE], const char *peer,
              bool is_source);
void story_reconnected(struct stats *st);
void story_verified(struct stats *st, enum godwit_verified v, const char *differs, uint64_t ns);
void story_get(struct stats *st, struct godwit_record *out);

#endif
