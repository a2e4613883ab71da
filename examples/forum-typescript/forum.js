// examples/forum-typescript/forum.ts
import { emit, fail, storage } from "cairn";
function init() {
  if (storage.getJson("posts") !== null) fail("the forum is initialised already");
  storage.setJson("posts", 0);
}
function create_post(args) {
  const id = countPosts();
  const post2 = {
    id,
    title: text(args, "title"),
    content: text(args, "content"),
    comments: 0
  };
  storage.setJson(`post ${id}`, post2);
  storage.setJson("posts", id + 1);
  emit("PostCreated", { id });
  return withComments(post2);
}
function create_comment(args) {
  const post2 = storage.getJson(`post ${args.post_id}`) ?? fail("there is no post with this id");
  const comment = { id: post2.comments, text: text(args, "text"), user: text(args, "user") };
  storage.setJson(`comment ${post2.id} ${comment.id}`, comment);
  storage.setJson(`post ${post2.id}`, { ...post2, comments: comment.id + 1 });
  emit("CommentCreated", { post_id: post2.id, comment_id: comment.id });
  return comment;
}
function posts() {
  return Array.from({ length: countPosts() }, (_, id) => post({ id }));
}
function post({ id }) {
  const stored = storage.getJson(`post ${id}`);
  return stored === null ? null : withComments(stored);
}
function countPosts() {
  return storage.getJson("posts") ?? 0;
}
function withComments({ comments, ...post2 }) {
  const stored = Array.from(
    { length: comments },
    (_, i) => storage.getJson(`comment ${post2.id} ${i}`)
  );
  return { ...post2, comments: stored.filter((comment) => comment !== null) };
}
function text(args, name) {
  const value = args[name];
  return typeof value === "string" ? value : fail(`"${name}" must be a text`);
}
export {
  create_comment,
  create_post,
  init,
  post,
  posts
};
