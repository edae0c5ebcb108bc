// Holds what Charter made of a log against the packages that signed notes and tiles come from, and makes the like:
// golang.org/x/mod/sumdb/note and tlog, by the authors of Go's checksum database. JSON on stdin, JSON on stdout.
// Cosignatures are read by package note; which bytes they sign, `eye` says after C2SP tlog-cosignature.
package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type proof struct {
	First, Size int64 // of an inclusion: index and size; of a consistency: both sizes
	Leaf, Root  tlog.Hash
	FirstRoot   tlog.Hash
	Path        []tlog.Hash
}

type question struct {
	Note, Key, Witness string
	WitnessKey         []byte
	WitnessID          uint32
	Size               int64
	Root               tlog.Hash
	Tiles              map[string][]byte
	Inclusions         []proof
	Consistencies      []proof
	Leaves             [][]byte
	Body               string
}

type eye struct {
	name string
	id   uint32
	key  ed25519.PublicKey
}

func (e eye) Name() string    { return e.name }
func (e eye) KeyHash() uint32 { return e.id }
func (e eye) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	head := fmt.Sprintf("cosignature/v1\ntime %d\n", binary.BigEndian.Uint64(sig[:8]))
	return ed25519.Verify(e.key, append([]byte(head), msg...), sig[8:])
}

type shelf map[string][]byte

func (s shelf) Height() int                     { return 8 }
func (s shelf) SaveTiles([]tlog.Tile, [][]byte) {}
func (s shelf) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, t := range tiles {
		data := s[fmt.Sprintf("%d/%d", t.L, t.N)]
		if len(data) < t.W*tlog.HashSize {
			return nil, fmt.Errorf("tile %v is short", t)
		}
		found = append(found, data[:t.W*tlog.HashSize])
	}
	return found, nil
}

func check(q question) error {
	own, err := note.NewVerifier(q.Key)
	if err != nil {
		return err
	}
	list := []note.Verifier{own}
	if q.Witness != "" {
		list = append(list, eye{q.Witness, q.WitnessID, q.WitnessKey})
	}
	n, err := note.Open([]byte(q.Note), note.VerifierList(list...))
	if err != nil {
		return err
	}
	if len(n.Sigs) != len(list) || len(n.UnverifiedSigs) != 0 {
		return fmt.Errorf("%d signatures verified, %d did not", len(n.Sigs), len(n.UnverifiedSigs))
	}
	if want := fmt.Sprintf("%s\n%d\n%s\n", own.Name(), q.Size, q.Root); n.Text != want {
		return fmt.Errorf("the note says %q, not %q", n.Text, want)
	}
	hashes := tlog.TileHashReader(tlog.Tree{N: q.Size, Hash: q.Root}, shelf(q.Tiles))
	for _, p := range q.Inclusions {
		if err := tlog.CheckRecord(p.Path, p.Size, p.Root, p.First, p.Leaf); err != nil {
			return fmt.Errorf("inclusion of %d in %d: %w", p.First, p.Size, err)
		}
		if p.Size == q.Size { // the tiles lead to the same proof
			found, err := tlog.ProveRecord(p.Size, p.First, hashes)
			if err != nil || fmt.Sprint(found) != fmt.Sprint(p.Path) {
				return fmt.Errorf("tiles of %d: %v", p.First, err)
			}
		}
	}
	for _, p := range q.Consistencies {
		if err := tlog.CheckTree(p.Path, p.Size, p.Root, p.First, p.FirstRoot); err != nil {
			return fmt.Errorf("consistency of %d with %d: %w", p.First, p.Size, err)
		}
	}
	return nil
}

// answer makes a log of the leaves: its root, proofs of each entry and size, and the body signed as a note.
func answer(q question) (map[string]any, error) {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(at []int64) (found []tlog.Hash, err error) {
		for _, i := range at {
			found = append(found, stored[i])
		}
		return
	})
	for i, leaf := range q.Leaves {
		more, err := tlog.StoredHashes(int64(i), leaf, reader)
		if err != nil {
			return nil, err
		}
		stored = append(stored, more...)
	}
	size := int64(len(q.Leaves))
	var records, trees [][]tlog.Hash
	for i := int64(0); i < size; i++ {
		record, err := tlog.ProveRecord(size, i, reader)
		if err != nil {
			return nil, err
		}
		tree, err := tlog.ProveTree(size, i+1, reader)
		if err != nil {
			return nil, err
		}
		records, trees = append(records, record), append(trees, tree)
	}
	root, err := tlog.TreeHash(size, reader)
	if err != nil {
		return nil, err
	}
	name := strings.SplitN(q.Body, "\n", 2)[0]
	secret, public, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return nil, err
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		return nil, err
	}
	signed, err := note.Sign(&note.Note{Text: fmt.Sprintf(q.Body, size, root)}, signer)
	return map[string]any{"note": string(signed), "key": public, "records": records, "trees": trees}, err
}

func main() {
	var q question
	if err := json.NewDecoder(os.Stdin).Decode(&q); err != nil {
		panic(err)
	}
	var told map[string]any
	var err error
	if q.Leaves != nil {
		told, err = answer(q)
	} else {
		err = check(q)
	}
	if err != nil {
		told = map[string]any{"error": err.Error()}
	}
	if err := json.NewEncoder(os.Stdout).Encode(told); err != nil {
		panic(err)
	}
}
