package dataset

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

const (
	// epochUS is 2026-01-05 00:00 UTC in microseconds: when the first contestant of any dataset signed up. The dataset
	// is the practice of past weeks, so its times do not move with the contest's clock.
	epochUS = 1_767_571_200_000_000

	secondUS = 1_000_000

	// idAppID is the app id in the dataset's ids. No running app may have it.
	idAppID = 1023
	// idEpochMS is 2025-01-01 00:00 UTC in milliseconds, from which ids count.
	idEpochMS = 1_735_689_600_000
)

// idAt makes an id as the app does: 41 bits of milliseconds since 2025-01-01, 10 bits of app id, 12 bits of sequence.
func idAt(us int64, sequence int) int64 {
	return (us/1000-idEpochMS)<<22 | idAppID<<12 | int64(sequence&0xfff)
}

type generator struct {
	rng *rand.Rand
	us  int64
}

// Generate makes the data of a seed. The only error is a scale that does not exist.
func Generate(seed uint64, scale Scale) (*Data, error) {
	n, err := scale.counts()
	if err != nil {
		return nil, err
	}
	g := &generator{rng: rand.New(rand.NewPCG(seed, Version)), us: epochUS}
	d := &Data{Seed: seed, Scale: scale}
	d.Admin = g.contestant("admin")
	d.Admin.Admin = true
	for i := range n.contestants {
		d.Contestants = append(d.Contestants, g.contestant(fmt.Sprintf("%s-%04d", pick(g, givenNames), i+1)))
	}
	for i := range n.teams {
		d.Teams = append(d.Teams, g.team(i))
	}
	g.fillTeams(d)
	g.jobs(d, n.results)
	g.clarifications(d, n.clarifications)
	return d, nil
}

func pick[T any](g *generator, from []T) T { return from[g.rng.IntN(len(from))] }

func (g *generator) chance(percent int) bool { return g.rng.IntN(100) < percent }

// tick moves the clock by one to two times stepUS and gives the new time.
func (g *generator) tick(stepUS int64) int64 {
	g.us += stepUS + g.rng.Int64N(stepUS)
	return g.us
}

func (g *generator) word(letters string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = letters[g.rng.IntN(len(letters))]
	}
	return string(b)
}

const wordLetters = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"

func (g *generator) contestant(name string) Contestant {
	us := g.tick(10 * secondUS)
	c := Contestant{ID: idAt(us, 0), Name: name, Password: g.word(wordLetters, 12), CreatedAtUS: us}
	for i := range c.Salt {
		c.Salt[i] = byte(g.rng.IntN(256))
	}
	return c
}

func (g *generator) team(i int) Team {
	us := g.tick(10 * secondUS)
	t := Team{ID: idAt(us, 0), CreatedAtUS: us, InviteToken: g.word(wordLetters, 24)}
	t.Name = fmt.Sprintf("%s%s %d", pick(g, teamAdjectives), pick(g, teamNouns), i+1)
	tags := slices.Clone(teamTags)
	g.rng.Shuffle(len(tags), func(a, b int) { tags[a], tags[b] = tags[b], tags[a] })
	t.Tags = tags[:min(g.rng.IntN(6), g.rng.IntN(11))]
	return t
}

// fillTeams gives every team its first member, then more to most of them; some contestants stay without a team.
func (g *generator) fillTeams(d *Data) {
	order := g.rng.Perm(len(d.Contestants))
	for round := range 3 {
		for i := range d.Teams {
			if len(order) == 0 || round == 1 && g.chance(10) || round == 2 && (len(d.Teams[i].MemberIDs) < 2 || g.chance(20)) {
				continue
			}
			c := &d.Contestants[order[0]]
			order = order[1:]
			c.TeamID = d.Teams[i].ID
			d.Teams[i].MemberIDs = append(d.Teams[i].MemberIDs, c.ID)
		}
	}
	for i := range d.Teams {
		slices.Sort(d.Teams[i].MemberIDs)
	}
}

// runner is a team at work: how good it is, and when its last job finished.
type runner struct {
	team   *Team
	level  int64
	freeUS int64
}

// jobs makes n finished jobs in the order in which they finished. Every fiftieth team has none; the others take turns in an order that is
// shuffled each time, so that no team ever has two jobs at the same time.
func (g *generator) jobs(d *Data, n int) {
	var runners []*runner
	for i := range d.Teams {
		if i%50 != 49 {
			runners = append(runners, &runner{team: &d.Teams[i], level: int64(5 + g.rng.IntN(40)), freeUS: g.us})
		}
	}
	d.Jobs = make([]Job, 0, n)
	for len(d.Jobs) < n {
		g.rng.Shuffle(len(runners), func(a, b int) { runners[a], runners[b] = runners[b], runners[a] })
		for _, r := range runners[:min(len(runners), n-len(d.Jobs))] {
			d.Jobs = append(d.Jobs, g.job(r, len(d.Jobs)))
		}
	}
	slices.SortFunc(d.Jobs, func(a, b Job) int { return int(min(max(a.ID-b.ID, -1), 1)) })
}

func (g *generator) job(r *runner, n int) Job {
	finished := g.tick(3 * secondUS)
	created := max(r.freeUS+1000, finished-int64(40+g.rng.IntN(60))*secondUS)
	r.freeUS = finished
	j := Job{
		ID: idAt(created, n), ResultID: idAt(finished, n), TeamID: r.team.ID,
		Target: fmt.Sprintf("10.%d.%d.%d", 1+n%3, r.team.ID>>22&0xff, 10+g.rng.IntN(200)),
		Memo:   pick(g, memos), Worker: fmt.Sprintf("bench-%02d", 1+g.rng.IntN(12)),
		CreatedAtUS: created, StartedAtUS: created + (finished-created)/4, FinishedAtUS: finished,
	}
	if g.chance(12) {
		j.Reason = pick(g, failReasons)
		return j
	}
	// In steps of 50, so that some teams share a best score and the order by id is seen.
	r.level += int64(g.rng.IntN(3))
	j.Score, j.Passed, j.Reason = 50*(r.level*8+int64(g.rng.IntN(160))), true, pick(g, passReasons)
	return j
}

func (g *generator) clarifications(d *Data, n int) {
	for range n {
		us := g.tick(60 * secondUS)
		qa := pick(g, questions)
		c := Clarification{ID: idAt(us, 0), TeamID: pick(g, d.Teams).ID, Question: qa.question, AskedAtUS: us}
		if g.chance(80) {
			c.Answer, c.Disclosed = qa.answer, g.chance(50)
			c.AnsweredAtUS = us + int64(1+g.rng.IntN(50))*secondUS
		}
		d.Clarifications = append(d.Clarifications, c)
	}
}

// What the data is made of. A change here changes every dataset: bump Version.
var (
	givenNames = []string{
		"aoi", "daiki", "emi", "fumiko", "goro", "hana", "haruto", "jun", "kaito", "kenta", "mai", "mio", "nana", "naoko",
		"ren", "riku", "sakura", "shota", "sora", "taro", "yui", "yuki", "alice", "bob", "carol", "dave", "erin", "frank",
	}
	teamAdjectives = []string{
		"Swift ", "Sleepy ", "Quiet ", "Lucky ", "Cold ", "Brave ", "Tiny ", "Late-night ", "Unindexed ", "Cached ",
		"最速の", "眠れる", "静かな", "幸運な", "冷静な", "勇敢な", "小さな", "深夜の", "索引なき", "百万倍の",
	}
	teamNouns = []string{
		"Otters", "Gophers", "Penguins", "Deadlocks", "Mutexes", "Pointers", "Buffers", "Sockets", "Kernels", "Queries",
		"カワウソ", "ゴーファー", "ペンギン", "デッドロック", "ミューテックス", "ポインタ", "バッファ", "ソケット", "カーネル", "クエリ",
	}
	// Some tags need quoting in JSON, and some differ from another only in case or are part of it.
	teamTags = []string{
		"student", "professional", "first-time", "remote", "onsite", "go", "Go", "rust", "ruby", "python", "node", "perl",
		"php", "c++", "solo", "学生", "社会人", "初参加", "リモート", "現地", "一人", "優勝経験あり", "\"quoted\"", `back\slash`,
		"100%", "a_b", "🍣", "🍣🍺",
	}
	memos = []string{
		"", "", "", "baseline", "index on results", "more connections", "nginx keepalive", "swap web and api", "索引を追加",
		"バッファプールを増やした", "キャッシュを1秒に", "再起動試験", "ログを止めた", "query cache on", "revert the last change",
	}
	passReasons = []string{"passed", "passed", "passed", "合格"}
	failReasons = []string{
		"initialize timed out", "leaderboard is older than one second", "503 on /api/dashboard", "整合性チェックに失敗しました",
		"初期化がタイムアウトしました", "too many errors",
	}
	questions = []struct{ question, answer string }{
		{"May we restart the servers during the contest?", "Yes. They are restarted once more before the final round."},
		{"Is it allowed to add an index?", "Yes, as long as the answers stay the same."},
		{"The leaderboard seems to lag behind. Is that intended?", "It may be at most one second old."},
		{"Can we use a fourth server?", "No. Only the hosts that you were given."},
		{"Our job has been waiting for minutes.", "The workers were busy; it has run by now."},
		{"Does the audience's traffic count towards the score?", "Yes, every right answer counts."},
		{"サーバーを再起動してもよいですか?", "はい。最後の計測の前にもう一度再起動されます。"},
		{"索引を追加してもよいですか?", "はい。応答が変わらなければ構いません。"},
		{"順位表が遅れて見えます。仕様でしょうか?", "最大で1秒までの遅れは許されます。"},
		{"四台目のサーバーを使えますか?", "いいえ。渡されたホストだけです。"},
		{"ジョブが何分も待ち状態のままです。", "ワーカーが混んでいました。今は終わっています。"},
		{"ボットへの応答は503でもよいですか?", "はい。ボットに限り減点されません。"},
		{"「凍結」中もジョブを登録できますか?\n順位表には載りますか?", "登録できます。順位表には凍結時点までの結果だけが載ります。"},
	}
)

// shortEscapes are the control characters that JSON_QUOTE writes with a letter.
var shortEscapes = map[rune]string{'\b': `\b`, '\t': `\t`, '\n': `\n`, '\f': `\f`, '\r': `\r`, '"': `\"`, '\\': `\\`}

// EncodeTags makes the text of the column teams.tags: a JSON array of strings, each exactly as JSON_QUOTE writes it.
// MariaDB keeps the text as it is given, and its JSON_CONTAINS does not find a string that is escaped in another way,
// as encoding/json does with U+2028, "<" and lower-case hexadecimal digits. No tags are an empty array.
func EncodeTags(tags []string) string {
	var b strings.Builder
	b.WriteByte('[')
	for i, tag := range tags {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('"')
		for _, r := range tag {
			switch escape, short := shortEscapes[r]; {
			case short:
				b.WriteString(escape)
			case r < ' ':
				fmt.Fprintf(&b, `\u%04X`, r)
			default:
				b.WriteRune(r)
			}
		}
		b.WriteByte('"')
	}
	b.WriteByte(']')
	return b.String()
}
