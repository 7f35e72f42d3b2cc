package app

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// SessionCookie is the name of the session's cookie.
	SessionCookie = "portal_session"
	// sessionAge outlives a contest of nine hours.
	sessionAge = 24 * time.Hour
)

// sessionValue makes the cookie's value: the contestant's id and when the session ends (in seconds since the Unix
// epoch), signed with HMAC-SHA256.
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

// bearsWorkerToken compares digests, so that the time it takes tells nothing of the token, not even its length.
func (p *portal) bearsWorkerToken(r *http.Request) bool {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	got, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(p.WorkerToken))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1
}
