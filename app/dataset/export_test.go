package dataset

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
)

// Digest is the SHA-256 of everything in d, as hexadecimal digits. Data is the same exactly if its digest is.
func (d *Data) Digest() string {
	h := sha256.New()
	fmt.Fprintf(h, "%d %d %s\n", Version, d.Seed, d.Scale)
	d.Admin.digest(h)
	for i := range d.Contestants {
		d.Contestants[i].digest(h)
	}
	for _, t := range d.Teams {
		fmt.Fprintf(h, "t %d %q %q %q %d %d\n", t.ID, t.Name, t.Tags, t.InviteToken, t.MemberIDs, t.CreatedAtUS)
	}
	for i := range d.Jobs {
		j := &d.Jobs[i]
		fmt.Fprintf(h, "j %d %d %d %q %q %q %d %t %q %d %d %d\n", j.ID, j.ResultID, j.TeamID, j.Target, j.Memo, j.Worker,
			j.Score, j.Passed, j.Reason, j.CreatedAtUS, j.StartedAtUS, j.FinishedAtUS)
	}
	for _, c := range d.Clarifications {
		fmt.Fprintf(h, "q %d %d %q %q %t %d %d\n", c.ID, c.TeamID, c.Question, c.Answer, c.Disclosed, c.AskedAtUS, c.AnsweredAtUS)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (c *Contestant) digest(w io.Writer) {
	fmt.Fprintf(w, "c %d %q %q %x %d %t %d\n", c.ID, c.Name, c.Password, c.Salt, c.TeamID, c.Admin, c.CreatedAtUS)
}
