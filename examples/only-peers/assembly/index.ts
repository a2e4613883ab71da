/**
 * A forum: posts, and comments on them. Ids are numbers counted from 0, comments per post.
 *
 *   posts              → how many posts
 *   post <id>          → the post's JSON without its end: `{"id":0,"title":"…","content":"…"`
 *   comments <post>    → how many comments that post has
 *   comment <post> <i> → comment i of that post, as JSON
 */
import {
  StorageKey,
  Writer,
  emit,
  fail,
  readArguments,
  returnJson,
  returnNull,
  storageRead,
  storageReadU64,
  storageWrite,
  storageWriteU64,
} from "../../sdk/assembly/index";

/** Opens an empty forum. */
export function init(): void {
  if (storageRead(postCountKey()) !== null) return fail("the forum is initialised already");
  storageWriteU64(postCountKey(), 0);
  returnNull();
}

/** `{title, content}` → the post */
export function create_post(): void {
  const args = readArguments();
  const title = args.string("title");
  const content = args.string("content");
  if (args.failed) return;

  const id = readPostCount();
  const body = new Writer().text('{"id":').u64(id);
  body.text(',"title":').string(title).text(',"content":').string(content);
  storageWrite(StorageKey.named("post", id), body);
  storageWriteU64(postCountKey(), id + 1);
  emit("PostCreated", new Writer().text('{"id":').u64(id).text("}"));
  returnJson(writePost(new Writer(), id));
}

/** `{post_id, text, user}` → the comment */
export function create_comment(): void {
  const args = readArguments();
  const postId = args.u64("post_id");
  const text = args.string("text");
  const user = args.string("user");
  if (args.failed) return;
  if (postId >= readPostCount()) return fail("there is no post with this id");

  const id = storageReadU64(commentCountKey(postId), 0);
  const comment = new Writer().text('{"id":').u64(id);
  comment.text(',"text":').string(text).text(',"user":').string(user).text("}");
  storageWrite(StorageKey.named("comment", postId, id), comment);
  storageWriteU64(commentCountKey(postId), id + 1);
  const event = new Writer().text('{"post_id":').u64(postId);
  emit("CommentCreated", event.text(',"comment_id":').u64(id).text("}"));
  returnJson(comment);
}

/** `{}` → every post with its comments */
export function posts(): void {
  const out = new Writer().text("[");
  const count = readPostCount();
  for (let id: u64 = 0; id < count; id++) {
    if (id > 0) out.text(",");
    writePost(out, id);
  }
  returnJson(out.text("]"));
}

/** `{id}` → the post with its comments, or null */
export function post(): void {
  const args = readArguments();
  const id = args.u64("id");
  if (args.failed) return;
  if (id >= readPostCount()) return returnNull();
  returnJson(writePost(new Writer(), id));
}

function postCountKey(): StorageKey {
  return StorageKey.named("posts");
}

function commentCountKey(postId: u64): StorageKey {
  return StorageKey.named("comments", postId);
}

function readPostCount(): u64 {
  return storageReadU64(postCountKey(), 0);
}

function writePost(out: Writer, id: u64): Writer {
  const body = storageRead(StorageKey.named("post", id));
  if (body === null) {
    return unreachable();
  }
  out.bytes(body).text(',"comments":[');
  const count = storageReadU64(commentCountKey(id), 0);
  for (let i: u64 = 0; i < count; i++) {
    const comment = storageRead(StorageKey.named("comment", id, i));
    if (comment === null) continue;
    if (i > 0) out.text(",");
    out.bytes(comment);
  }
  return out.text("]}");
}
