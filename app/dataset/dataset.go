// Package dataset makes the portal's initial data from a seed number, and loads it into prepared tables.
//
// In goes a seed and a scale, out comes the whole data as values: the same seed gives the same bytes, on any machine.
// A benchmarker reads from those values what it must know without SQL (logins, teams, scores); Load writes them into
// the seed database, from which the app's initialize copies them. The tables' definitions are in schema.sql.
package dataset

import (
	"cmp"
	"fmt"
	"slices"
)

// Version counts the changes of what Generate gives for a seed. Prepared tables of another version are made again.
const Version = 2

// Scale is the amount of data.
type Scale string

// The scales: Small is for tests, Standard for rounds.
const (
	Small    Scale = "small"
	Standard Scale = "standard"
)

type counts struct{ teams, contestants, results, clarifications int }

func (s Scale) counts() (counts, error) {
	switch s {
	case Small:
		return counts{teams: 50, contestants: 150, results: 2_000, clarifications: 30}, nil
	case Standard:
		return counts{teams: 1_000, contestants: 3_000, results: 200_000, clarifications: 300}, nil
	}
	return counts{}, fmt.Errorf("scale %q does not exist; there are %q and %q", string(s), string(Small), string(Standard))
}

// Validate reports whether the scale exists.
func (s Scale) Validate() error {
	_, err := s.counts()
	return err
}

// Data is everything that is in the tables after an initialize, except the contest's clock.
type Data struct {
	Seed  uint64
	Scale Scale
	// Admin is the one contestant with the right to administrate; it is not in Contestants.
	Admin Contestant
	// Contestants are ordered by id, as are Teams, Jobs and Clarifications.
	Contestants    []Contestant
	Teams          []Team
	Jobs           []Job
	Clarifications []Clarification
}

// Contestant is a login.
type Contestant struct {
	ID       int64
	Name     string
	Password string
	// Salt is what the password's hash is made with.
	Salt [16]byte
	// TeamID is 0 for a contestant without a team.
	TeamID      int64
	Admin       bool
	CreatedAtUS int64 // microseconds since the Unix epoch
}

// Team is a team of one to three members.
type Team struct {
	ID          int64
	Name        string
	Tags        []string
	InviteToken string
	MemberIDs   []int64 // ascending
	CreatedAtUS int64   // microseconds since the Unix epoch
}

// Job is a finished job and its result: the dataset has no unfinished ones.
type Job struct {
	ID, ResultID, TeamID int64
	Target, Memo         string
	Worker               string
	Score                int64
	Passed               bool
	Reason               string
	// Microseconds since the Unix epoch, in this order; the result was reported at FinishedAtUS.
	CreatedAtUS, StartedAtUS, FinishedAtUS int64
}

// Clarification is a question and its answer, which is empty while there is none.
type Clarification struct {
	ID, TeamID              int64
	Question, Answer        string
	Disclosed               bool
	AskedAtUS, AnsweredAtUS int64 // microseconds since the Unix epoch
}

// Standing is a team's passed results in numbers.
type Standing struct {
	TeamID      int64
	BestScore   int64
	LatestScore int64
	ResultCount int
	LatestAtUS  int64 // microseconds since the Unix epoch
}

// Standings gives the leaderboard: every team that has a passed result, best score first, then lowest team id.
func (d *Data) Standings() []Standing {
	index := make(map[int64]int, len(d.Teams))
	var standings []Standing
	for i := range d.Jobs {
		j := &d.Jobs[i]
		if !j.Passed {
			continue
		}
		n, ok := index[j.TeamID]
		if !ok {
			n = len(standings)
			index[j.TeamID] = n
			standings = append(standings, Standing{TeamID: j.TeamID, BestScore: j.Score})
		}
		s := &standings[n]
		s.ResultCount++
		s.BestScore = max(s.BestScore, j.Score)
		if j.FinishedAtUS > s.LatestAtUS {
			s.LatestScore, s.LatestAtUS = j.Score, j.FinishedAtUS
		}
	}
	slices.SortFunc(standings, func(a, b Standing) int {
		return cmp.Or(cmp.Compare(b.BestScore, a.BestScore), cmp.Compare(a.TeamID, b.TeamID))
	})
	return standings
}
