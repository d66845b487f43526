use watershed_state::SimulatedDisk;

use super::*;

const FOLDER: &str = "/out";

pub(in super::super) fn owner(run: u64) -> Owner {
    Owner {
        topology: "words".into(),
        operator: "my-out".into(),
        lineage: "abc".into(),
        run,
        checkpoints: Some("/checkpoints".into()),
        process: 0,
        started_ms: 0,
    }
}

fn copied(run: u64) -> Owner {
    Owner { checkpoints: Some("/copy".into()), ..owner(run) }
}

fn disk() -> (SimulatedDisk, Fs) {
    let disk = SimulatedDisk::new(0);
    let fs = disk.fs();
    fs.create_dir_all(FOLDER.as_ref()).unwrap();
    (disk, fs)
}

fn find(owner: &Owner, fs: &Fs) -> Result<FolderClaim, FilesError> {
    FolderClaim::find(FOLDER.as_ref(), owner, fs)
}

fn take(owner: &Owner, fs: &Fs) -> FolderClaim {
    let mut claim = find(owner, fs).unwrap();
    claim.put().unwrap();
    claim
}

fn names(fs: &Fs) -> Vec<String> {
    fs.list(FOLDER.as_ref()).unwrap().into_iter().map(|file| file.name).collect()
}

fn refused(claim: Result<FolderClaim, FilesError>) -> String {
    claim.map(drop).unwrap_err().to_string()
}

#[test]
fn a_second_life_of_a_history_is_refused_while_the_first_writes_and_both_are_named() {
    let (_, fs) = disk();
    let _first = take(&owner(65), &fs);
    for run in [1, 65, 129] {
        let said = refused(find(&copied(run), &fs));
        assert!(
            said.contains("`my-out` of `words`, run 65, process 0, with checkpoints /checkpoints"),
            "{said}"
        );
        assert!(said.contains(&format!("run {run}, process 0, with checkpoints /copy goes on")), "{said}");
        assert!(said.contains("is writing to /out") && said.contains("Resume::From"), "{said}");
    }
}

#[test]
fn a_second_life_is_refused_after_the_first_has_ended_if_that_went_on_further() {
    let (_, fs) = disk();
    drop(take(&owner(65), &fs));
    for run in [1, 65] {
        let said = refused(find(&copied(run), &fs));
        assert!(
            said.contains("run 65") && said.contains("/copy") && said.contains("has written to /out"),
            "{said}"
        );
    }
    assert_eq!(names(&fs), [".owner-my-out-abc-r65"]);
}

#[test]
fn of_two_that_start_at_once_one_is_refused() {
    let (_, fs) = disk();
    let (mut first, mut second) = (find(&owner(1), &fs).unwrap(), find(&copied(1), &fs).unwrap());
    first.put().unwrap();
    let said = second.put().unwrap_err().to_string();
    assert!(said.contains("/checkpoints") && said.contains("/copy"), "{said}");
}

#[test]
fn of_two_with_different_runs_that_start_at_once_the_second_is_refused_and_leaves_no_file() {
    for [earlier, later] in [[1, 65], [65, 1]] {
        let (_, fs) = disk();
        let (mut first, mut second) =
            (find(&owner(earlier), &fs).unwrap(), find(&copied(later), &fs).unwrap());
        first.put().unwrap();
        let said = second.put().unwrap_err().to_string();
        assert!(said.contains(&format!("run {earlier}")) && said.contains("/copy"), "{said}");
        assert!(said.contains("is writing to /out"), "{said}");
        drop(second);
        assert_eq!(names(&fs), [format!(".owner-my-out-abc-r{earlier}")]);
    }
}

#[test]
fn a_process_that_came_and_went_after_the_first_look_counts_by_its_run() {
    let (_, fs) = disk();
    let mut before_it = find(&copied(1), &fs).unwrap();
    let mut after_it = find(&copied(129), &fs).unwrap();
    drop(take(&owner(65), &fs));
    let said = before_it.put().unwrap_err().to_string();
    assert!(said.contains("run 65") && said.contains("has written to /out"), "{said}");
    drop(before_it);
    after_it.put().unwrap();
    assert_eq!(names(&fs), [".owner-my-out-abc-r129"]);
}

#[test]
fn the_next_process_of_a_history_takes_over_and_leaves_one_file() {
    let (disk, fs) = disk();
    let first = take(&owner(1), &fs);
    disk.kill();
    let fs = disk.fs();
    let second = take(&owner(65), &fs);
    assert_eq!(names(&fs), [".owner-my-out-abc-r65"]);
    drop((first, second));
    drop(take(&owner(129), &fs));
    assert_eq!(names(&fs), [".owner-my-out-abc-r129"]);
}

#[test]
fn a_process_that_died_before_its_number_was_reserved_can_come_again_with_it() {
    let (_, fs) = disk();
    drop(take(&owner(1), &fs));
    drop(find(&owner(65), &fs).unwrap());
    drop(take(&owner(65), &fs));
}

#[test]
fn other_sinks_and_other_histories_share_the_folder() {
    let (_, fs) = disk();
    let claims = [
        take(&owner(65), &fs),
        take(&Owner { operator: "out".into(), ..owner(1) }, &fs),
        take(&Owner { lineage: "def".into(), ..owner(1) }, &fs),
    ];
    assert_eq!(names(&fs).len(), claims.len());
}

#[test]
fn a_history_that_is_gone_with_its_process_leaves_no_file() {
    let (_, fs) = disk();
    drop(take(&Owner { checkpoints: None, ..owner(1) }, &fs));
    assert_eq!(names(&fs), Vec::<String>::new());
}

#[test]
fn a_file_that_does_not_tell_who_it_is_of_still_counts() {
    let (_, fs) = disk();
    fs.create_new(&Path::new(FOLDER).join(".owner-my-out-abc-r7")).unwrap().write_all(b"\x1b[31m").unwrap();
    let said = refused(find(&owner(7), &fs));
    assert!(said.contains("run 7, of which /out/.owner-my-out-abc-r7 does not tell more"), "{said}");
}
