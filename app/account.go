package app

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	portalv1 "isukit/proto/portal/v1"
)

// contestant is a row of contestants without its password.
type contestant struct {
	ID     int64  `db:"id"`
	Name   string `db:"name"`
	TeamID int64  `db:"team_id"`
	Admin  bool   `db:"admin"`
}

func (c *contestant) proto() *portalv1.Contestant {
	return &portalv1.Contestant{Id: c.ID, Name: c.Name, TeamId: c.TeamID, Admin: c.Admin}
}

// caller gives who is logged in, or nil: without a session, with one that is not genuine or over, and when the
// contestant is no longer there, as after an initialize.
func (p *portal) caller(ctx context.Context, r *http.Request) (*contestant, error) {
	id, ok := p.sessionContestant(r)
	if !ok {
		return nil, nil
	}
	c := &contestant{}
	err := p.Store.Reader().GetContext(ctx, c, "SELECT id, name, team_id, admin FROM contestants WHERE id = ?", id)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return c, err
}

func (p *portal) signup(ctx context.Context, c *call, m *portalv1.SignupRequest) (*portalv1.SignupResponse, error) {
	if err := checkName(m.GetName()); err != nil {
		return nil, err
	}
	if err := checkBytes("password", m.GetPassword(), 8, 128); err != nil {
		return nil, err
	}
	hash, err := hashNewPassword(m.GetPassword(), p.PasswordIterations)
	if err != nil {
		return nil, err
	}
	who := contestant{ID: p.ids.Next(), Name: m.GetName()}
	err = writeTx(ctx, p.Store, func(tx *sqlx.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO contestants (id, name, password_hash, team_id, admin, created_at_us) VALUES (?, ?, ?, 0, 0, ?)",
			who.ID, who.Name, hash, p.nowUS())
		return err
	})
	if isSQL(err, errDuplicate) {
		return nil, conflict("name_taken", "the name "+clip(who.Name)+" is taken")
	}
	if err != nil {
		return nil, err
	}
	p.startSession(c.w, who.ID)
	return &portalv1.SignupResponse{Contestant: who.proto()}, nil
}

func (p *portal) login(ctx context.Context, c *call, m *portalv1.LoginRequest) (*portalv1.LoginResponse, error) {
	var row struct {
		contestant
		PasswordHash string `db:"password_hash"`
	}
	err := p.Store.Reader().GetContext(ctx, &row,
		"SELECT id, name, team_id, admin, password_hash FROM contestants WHERE name = ?", m.GetName())
	known := !errors.Is(err, sql.ErrNoRows)
	if err != nil && known {
		return nil, err
	}
	if !known {
		row.PasswordHash = p.decoy
	}
	right, err := CheckPassword(row.PasswordHash, m.GetPassword())
	if err != nil {
		return nil, err
	}
	if !right || !known {
		return nil, badLogin
	}
	p.startSession(c.w, row.ID)
	return &portalv1.LoginResponse{Contestant: row.proto()}, nil
}

// logout deletes the session; it is not an error if there is none.
func (p *portal) logout(_ context.Context, c *call) (*portalv1.LogoutResponse, error) {
	endSession(c.w)
	return &portalv1.LogoutResponse{}, nil
}

func (p *portal) getSession(ctx context.Context, c *call) (*portalv1.GetSessionResponse, error) {
	c.w.Header().Set("Cache-Control", "private, no-store")
	clock, err := readClock(ctx, p.Store.Reader())
	if err != nil {
		return nil, err
	}
	res := &portalv1.GetSessionResponse{Contest: clock.proto(p.nowUS())}
	who, err := p.caller(ctx, c.r)
	if err != nil {
		return nil, err
	}
	if who != nil {
		res.Contestant = who.proto()
	}
	return res, nil
}

const (
	// DefaultPasswordIterations costs about 3 ms a password. The open internet needs far more; here hashing must not be all that a round
	// measures.
	DefaultPasswordIterations = 10_000
	// DatasetPasswordIterations is what the dataset's passwords cost, low enough to prepare 3,000 of them in seconds.
	DatasetPasswordIterations = 2_000

	saltBytes      = 16
	hashBytes      = 32
	passwordScheme = "pbkdf2-sha256"
	// maxPasswordIterations bounds what a stored hash can make the app do.
	maxPasswordIterations = 10_000_000
)

// HashPassword makes what is stored of a password: scheme, iterations, salt and hash, separated by "$".
func HashPassword(password string, salt []byte, iterations int) (string, error) {
	if len(salt) == 0 || iterations < 1 || iterations > maxPasswordIterations {
		return "", fmt.Errorf("hash a password with %d bytes of salt and %d iterations", len(salt), iterations)
	}
	key, err := pbkdf2.Key(sha256.New, password, salt, iterations, hashBytes)
	if err != nil {
		return "", fmt.Errorf("hash a password: %w", err)
	}
	encode := base64.RawStdEncoding.EncodeToString
	return strings.Join([]string{passwordScheme, strconv.Itoa(iterations), encode(salt), encode(key)}, "$"), nil
}

func hashNewPassword(password string, iterations int) (string, error) {
	salt := make([]byte, saltBytes)
	rand.Read(salt) // never fails
	return HashPassword(password, salt, iterations)
}

// CheckPassword reports whether stored was made from password. The error is a stored hash that cannot be read.
func CheckPassword(stored, password string) (bool, error) {
	parts := strings.Split(stored, "$")
	if len(parts) != 4 || parts[0] != passwordScheme {
		return false, errors.New("stored password hash is not of the form scheme$iterations$salt$hash")
	}
	iterations, err := strconv.Atoi(parts[1])
	if err != nil {
		return false, errors.New("stored password hash has no number of iterations")
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[2])
	if err != nil {
		return false, errors.New("stored password hash has a salt that is not base64")
	}
	again, err := HashPassword(password, salt, iterations)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare([]byte(again), []byte(stored)) == 1, nil
}

const (
	// SessionCookie is the name of the session's cookie.
	SessionCookie = "portal_session"
	// sessionAge outlives a contest of nine hours.
	sessionAge = 24 * time.Hour
)

// sessionValue makes the cookie: the contestant's id and the end of the session (Unix seconds), signed with HMAC-SHA256.
func (p *portal) sessionValue(contestantID int64, ends time.Time) string {
	payload := strconv.FormatInt(contestantID, 10) + "." + strconv.FormatInt(ends.Unix(), 10)
	return payload + "." + base64.RawURLEncoding.EncodeToString(p.sign(payload))
}

// sign covers a purpose too, so that nothing else that is ever signed with the key passes for a session.
func (p *portal) sign(payload string) []byte {
	mac := hmac.New(sha256.New, p.SessionKey)
	mac.Write([]byte("portal session v1\n" + payload))
	return mac.Sum(nil)
}

// sessionContestant gives the contestant's id of a request whose session is genuine and not over.
func (p *portal) sessionContestant(r *http.Request) (int64, bool) {
	cookie, err := r.Cookie(SessionCookie)
	if err != nil {
		return 0, false
	}
	i := strings.LastIndexByte(cookie.Value, '.')
	if i < 0 {
		return 0, false
	}
	payload := cookie.Value[:i]
	mac, err := base64.RawURLEncoding.DecodeString(cookie.Value[i+1:])
	if err != nil || !hmac.Equal(mac, p.sign(payload)) {
		return 0, false
	}
	id, ends, _ := strings.Cut(payload, ".")
	contestantID, err1 := strconv.ParseInt(id, 10, 64)
	endsAt, err2 := strconv.ParseInt(ends, 10, 64)
	if err1 != nil || err2 != nil || p.Now().Unix() >= endsAt {
		return 0, false
	}
	return contestantID, true
}

func (p *portal) startSession(w http.ResponseWriter, contestantID int64) {
	http.SetCookie(w, &http.Cookie{
		Name: SessionCookie, Value: p.sessionValue(contestantID, p.Now().Add(sessionAge)),
		Path: "/", MaxAge: int(sessionAge / time.Second), HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

func endSession(w http.ResponseWriter) {
	http.SetCookie(w, &http.Cookie{
		Name: SessionCookie, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// bearsWorkerToken compares digests, so that its duration does not reveal the token, or its length.
func (p *portal) bearsWorkerToken(r *http.Request) bool {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	got, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(p.WorkerToken))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1
}
