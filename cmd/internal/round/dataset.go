package round

import (
	"isukit/app/dataset"
	"isukit/bench/scenario"
)

// datasetFor tells the scenario what its users know of the app's initial data.
func datasetFor(d *dataset.Data) scenario.Dataset {
	standings := map[int64]dataset.Standing{}
	for _, s := range d.Standings() {
		standings[s.TeamID] = s
	}
	logins := map[int64]scenario.Login{}
	for i := range d.Contestants {
		logins[d.Contestants[i].ID] = loginOf(&d.Contestants[i])
	}
	out := scenario.Dataset{Admin: loginOf(&d.Admin)}
	for i := range d.Teams {
		t := &d.Teams[i]
		s := standings[t.ID]
		out.Teams = append(out.Teams, scenario.Team{
			ID: t.ID, Name: t.Name, Tags: t.Tags,
			BestScore: s.BestScore, LatestScore: s.LatestScore, PassedResults: int32(s.ResultCount),
		})
		out.Leaders = append(out.Leaders, logins[t.MemberIDs[0]])
	}
	return out
}

func loginOf(c *dataset.Contestant) scenario.Login {
	return scenario.Login{ContestantID: c.ID, Name: c.Name, Password: c.Password, TeamID: c.TeamID}
}
