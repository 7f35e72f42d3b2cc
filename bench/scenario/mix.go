package scenario

import (
	"fmt"
	"strings"
)

// Mix is who comes.
type Mix string

// The mixes.
const (
	// Everyone is a contest under way: mostly contestants, enough workers that no job waits long, one admin in 16 for all the
	// questions.
	Everyone Mix = "everyone"
	// Audience is a portal that is read far more than it is written: 13 of 16 only look, mostly at the leaderboard, while
	// one contestant and one worker in 16 see to it that the leaderboard changes.
	Audience Mix = "audience"
)

// Mixes are all of them.
func Mixes() []Mix { return []Mix{Everyone, Audience} }

var (
	everyone = cast{
		kindWorker, kindContestant, kindAudience, kindContestant, kindAdmin, kindContestant, kindContestant, kindWorker,
		kindContestant, kindAudience, kindContestant, kindContestant, kindBot, kindContestant, kindAudience, kindContestant,
	}
	audience = cast{
		kindWorker, kindAudience, kindAudience, kindAudience, kindContestant, kindAudience, kindAudience, kindAudience,
		kindAudience, kindAudience, kindAudience, kindAdmin, kindAudience, kindAudience, kindAudience, kindAudience,
	}
)

// Validate tells whether there is such a mix.
func (m Mix) Validate() error {
	_, err := m.cast()
	return err
}

func (m Mix) cast() (cast, error) {
	switch m {
	case Everyone, "":
		return everyone, nil
	case Audience:
		return audience, nil
	}
	var names []string
	for _, m := range Mixes() {
		names = append(names, string(m))
	}
	return nil, fmt.Errorf("mix %q does not exist (have %s)", m, strings.Join(names, ", "))
}
