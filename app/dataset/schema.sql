-- The portal's tables, for MySQL 8 and later and for MariaDB 10.6 and later.
-- Ids and times come from the app: ids are time-ordered 63-bit numbers, times are microseconds since the Unix epoch.
-- Names are VARBINARY: they compare byte by byte, so "a" and "A" and "a " are three names on both servers.

CREATE TABLE contest (
  id TINYINT NOT NULL PRIMARY KEY,
  starts_at_us BIGINT NOT NULL,
  freezes_at_us BIGINT NOT NULL,
  ends_at_us BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE contestants (
  id BIGINT NOT NULL PRIMARY KEY,
  name VARBINARY(32) NOT NULL,
  password_hash VARBINARY(160) NOT NULL,
  team_id BIGINT NOT NULL,
  admin TINYINT NOT NULL,
  created_at_us BIGINT NOT NULL,
  UNIQUE KEY contestants_name (name),
  KEY contestants_team (team_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- notified counts the team's notifications; it changes under the row's lock, so that their numbers have no gap.
CREATE TABLE teams (
  id BIGINT NOT NULL PRIMARY KEY,
  name VARBINARY(256) NOT NULL,
  tags JSON NOT NULL,
  invite_token VARBINARY(64) NOT NULL,
  notified BIGINT NOT NULL,
  created_at_us BIGINT NOT NULL,
  UNIQUE KEY teams_name (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- status: 1 waiting, 2 running, 3 finished, as in portal.v1.JobStatus; 4 finished, and its team is yet to be notified.
-- unfinished_team_id is team_id until the job has finished, then NULL: a team has one unfinished job at most.
CREATE TABLE jobs (
  id BIGINT NOT NULL PRIMARY KEY,
  team_id BIGINT NOT NULL,
  status TINYINT NOT NULL,
  unfinished_team_id BIGINT NULL,
  target VARBINARY(255) NOT NULL,
  memo VARCHAR(1000) NOT NULL,
  worker VARBINARY(64) NOT NULL,
  score BIGINT NOT NULL,
  passed TINYINT NOT NULL,
  reason VARCHAR(1000) NOT NULL,
  created_at_us BIGINT NOT NULL,
  started_at_us BIGINT NOT NULL,
  finished_at_us BIGINT NOT NULL,
  UNIQUE KEY jobs_unfinished (unfinished_team_id),
  KEY jobs_team (team_id),
  KEY jobs_status (status)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE results (
  id BIGINT NOT NULL PRIMARY KEY,
  team_id BIGINT NOT NULL,
  job_id BIGINT NOT NULL,
  score BIGINT NOT NULL,
  passed TINYINT NOT NULL,
  reported_at_us BIGINT NOT NULL,
  UNIQUE KEY results_job (job_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE clarifications (
  id BIGINT NOT NULL PRIMARY KEY,
  team_id BIGINT NOT NULL,
  question VARCHAR(2000) NOT NULL,
  answer VARCHAR(2000) NOT NULL,
  disclosed TINYINT NOT NULL,
  asked_at_us BIGINT NOT NULL,
  answered_at_us BIGINT NOT NULL,
  KEY clarifications_team (team_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- One of the two subjects is not 0.
CREATE TABLE notifications (
  team_id BIGINT NOT NULL,
  seq BIGINT NOT NULL,
  created_at_us BIGINT NOT NULL,
  finished_job_id BIGINT NOT NULL,
  answered_clarification_id BIGINT NOT NULL,
  PRIMARY KEY (team_id, seq)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
