/**
 * A forum: posts, and comments on them. Ids are numbers counted from 0, comments per post.
 *
 *   posts              → how many posts
 *   post <id>          → the post, with how many comments it has
 *   comment <post> <i> → comment i of that post
 */
import { emit, fail, storage } from 'cairn';

type Post = { readonly id: number; readonly title: string; readonly content: string };
type Comment = { readonly id: number; readonly text: string; readonly user: string };
type Stored = Post & { readonly comments: number };

/** Opens an empty forum. */
export function init(): void {
  if (storage.getJson('posts') !== null) fail('the forum is initialised already');
  storage.setJson('posts', 0);
}

export function create_post(args: { readonly title: string; readonly content: string }) {
  const id = countPosts();
  const post: Stored = {
    id,
    title: text(args, 'title'),
    content: text(args, 'content'),
    comments: 0,
  };
  storage.setJson(`post ${id}`, post);
  storage.setJson('posts', id + 1);
  emit('PostCreated', { id });
  return withComments(post);
}

export function create_comment(args: {
  readonly post_id: number;
  readonly text: string;
  readonly user: string;
}): Comment {
  const post =
    storage.getJson<Stored>(`post ${args.post_id}`) ?? fail('there is no post with this id');
  const comment = { id: post.comments, text: text(args, 'text'), user: text(args, 'user') };
  storage.setJson(`comment ${post.id} ${comment.id}`, comment);
  storage.setJson(`post ${post.id}`, { ...post, comments: comment.id + 1 });
  emit('CommentCreated', { post_id: post.id, comment_id: comment.id });
  return comment;
}

/** Every post with its comments. */
export function posts() {
  return Array.from({ length: countPosts() }, (_, id) => post({ id }));
}

/** The post with its comments, or null. */
export function post({ id }: { readonly id: number }) {
  const stored = storage.getJson<Stored>(`post ${id}`);
  return stored === null ? null : withComments(stored);
}

function countPosts(): number {
  return storage.getJson<number>('posts') ?? 0;
}

function withComments({ comments, ...post }: Stored): Post & { readonly comments: Comment[] } {
  const stored = Array.from({ length: comments }, (_, i) =>
    storage.getJson<Comment>(`comment ${post.id} ${i}`),
  );
  return { ...post, comments: stored.filter((comment) => comment !== null) };
}

/** Types are a promise of the compiler alone: what callers send is checked here. */
function text<Name extends string>(args: Readonly<Record<Name, unknown>>, name: Name): string {
  const value = args[name];
  return typeof value === 'string' ? value : fail(`"${name}" must be a text`);
}
