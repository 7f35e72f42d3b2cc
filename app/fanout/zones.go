package fanout

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"
)

const zoneTables = "time zone tables"

// zoneInstants are the moments at which zones are compared: one in each week that a TIMESTAMP can name, at another hour each.
func zoneInstants() []int64 {
	var list []int64
	for at := int64(24 * 3600); at < 1<<31-24*3600; at += 7*24*3600 + 3600 {
		list = append(list, at)
	}
	return list
}

// namedZones are zones of every part of the world, most of them with rules that changed in the last years: CONVERT_TZ tells by them which
// release of the zone tables a server has, if any.
var namedZones = strings.Fields(`UTC Europe/London Europe/Berlin Europe/Moscow Europe/Istanbul Asia/Tokyo Asia/Shanghai Asia/Kolkata Asia/Tehran
	Asia/Amman Asia/Almaty Asia/Gaza Asia/Pyongyang Africa/Cairo Africa/Casablanca Africa/Juba America/New_York America/Chihuahua America/Sao_Paulo
	America/Asuncion America/Nuuk Australia/Sydney Pacific/Apia Pacific/Fiji`)

// zonesAtOnce keeps the questions within the smallest packets that a DSN may ask for.
const zonesAtOnce = 500

// joined are the values of expressions, with commas between.
func joined(ctx context.Context, c *sql.Conn, exprs []string) (text string, err error) {
	err = c.QueryRowContext(ctx, "SELECT CONCAT_WS(',', "+strings.Join(exprs, ",")+")").Scan(&text)
	return text, err
}

// readZones replaces the session's zone by what it does, and notes what the zone tables say.
func (s *settings) readZones(ctx context.Context, c *sql.Conn) error {
	instants := zoneInstants()
	var texts []string
	for part := range slices.Chunk(instants, zonesAtOnce) {
		exprs := make([]string, len(part))
		for i, at := range part {
			exprs[i] = fmt.Sprintf("FROM_UNIXTIME(%d)", at)
		}
		text, err := joined(ctx, c, exprs)
		if err != nil {
			return err
		}
		texts = append(texts, text)
	}
	if err := s.setZone(instants, strings.Split(strings.Join(texts, ","), ",")); err != nil {
		return err
	}
	texts = texts[:0]
	for _, zone := range namedZones {
		var exprs []string
		for year := 1975; year < 2030; year += 3 {
			exprs = append(exprs, fmt.Sprintf("COALESCE(CONVERT_TZ('%d-01-15 12:00:00','+00:00','%s'),'-'),COALESCE(CONVERT_TZ('%d-07-15 12:00:00','+00:00','%[2]s'),'-')", year, zone, year))
		}
		text, err := joined(ctx, c, exprs)
		if err != nil {
			return err
		}
		texts = append(texts, text)
	}
	text := strings.Join(texts, ",")
	s.values[zoneTables] = "none"
	if strings.Trim(text, "-,") != "" {
		s.values[zoneTables] = fmt.Sprintf("tables with digest %.4x", sha256.Sum256([]byte(text)))
	}
	return nil
}

// setZone describes the zone by the local times that it gives at instants: by its offset where it is always the same, which is then also what
// a session is given, else by its name, its offsets, and a digest of them.
func (s *settings) setZone(instants []int64, local []string) error {
	if len(local) != len(instants) {
		return fmt.Errorf("got %d times, want %d", len(local), len(instants))
	}
	offsets := make([]int, len(instants))
	same := true
	for i, at := range instants {
		t, err := time.Parse(time.DateTime, local[i])
		if err != nil {
			return err
		}
		offsets[i] = int(t.Unix() - at)
		same = same && offsets[i] == offsets[0]
	}
	if same && offsets[0]%60 == 0 {
		s.zone = offsetText(offsets[0])
		s.values["time_zone"] = s.zone
		return nil
	}
	s.zone = s.values["time_zone"]
	summer, winter := offsets[len(offsets)-1], offsets[len(offsets)-26]
	s.values["time_zone"] = fmt.Sprintf("%s or %s, by the season (digest %.4x)", offsetText(min(summer, winter)), offsetText(max(summer, winter)),
		sha256.Sum256(fmt.Append(nil, offsets)))
	return nil
}

// offsetText is an offset of seconds as time_zone takes it.
func offsetText(seconds int) string {
	sign := '+'
	if seconds < 0 {
		sign, seconds = '-', -seconds
	}
	return fmt.Sprintf("%c%02d:%02d", sign, seconds/3600, seconds/60%60)
}
