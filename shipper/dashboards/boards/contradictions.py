"""What hosts contradict of what was told: other images, hosts that never came, generations that are back; and who remembers."""

from shipper.dashboards import kit, names
from shipper.dashboards.boards.common import Words
from shipper.dashboards.boards.deploy_words import SHOWN, Deploys
from shipper.dashboards.duration import duration
from shipper.dashboards.kit import Ask, Column, looks, of_row
from shipper.dashboards.kit.sdk import model

_CAME_BACK = 'episode!="1"'


def drift(words: Words) -> model.Panel:
    """One release, several images."""
    release = words.config.labels.release
    info = words.here(names.HOST_INFO)
    alive = f"({info} and present_over_time({info}[{duration(words.config.windows.present)}]))"
    hosts = f"count by ({release}, image) ({alive})"
    return kit.table(
        Ask(
            8,
            "Does one release run from two images?",
            "Releases whose hosts run different images now, with the hosts of each image.",
            "A tag was pushed again, or a node kept an old image: pin by digest, replace the hosts of the smaller group.",
            height=7,
        ),
        [kit.now(f"topk({SHOWN}, {hosts} and on({release}) (count by ({release}) ({hosts}) > 1))")],
        [Column(release, "Release"), Column("image", "Image"), Column("A", "Hosts", looks.HOSTS, width=80)],
        sort="Hosts",
        no_value="no: one image each",
    )


def never_up(words: Deploys) -> model.Panel:
    """Hosts that a deploy told of and nobody saw."""
    generation = words.config.labels.generation
    told = words.told(names.DESIRED_HOSTS, by=generation)
    peak = f"max by ({generation}) (max_over_time({words.here(names.HOSTS_COUNT)}[$__range]))"
    missing = f"topk({SHOWN}, {told} - on({generation}) ({peak} or 0 * {told}) > 0)"
    return kit.table(
        Ask(
            9,
            "Which hosts never came up?",
            "Generations that never had as many hosts, in the time shown, as their deploy told of, and how many were missing.",
            "Look where hosts boot (console output, pod events, quota): a host that never ran Shipper cannot say why.",
            height=7,
        ),
        [kit.now(missing), kit.now(f"{told} and on({generation}) {missing}")],
        [
            Column(
                generation,
                "Generation",
                link=kit.to(kit.HOSTS, "Its hosts", generation=of_row(generation)),
            ),
            Column("A", "Missing", looks.HOSTS, width=90),
            Column("B", "Told", looks.HOSTS, width=80),
        ],
        sort="Missing",
        no_value="none that was told of",
    )


def again(words: Deploys) -> model.Panel:
    """Generations that became the newest again."""
    by = f"{words.config.labels.generation}, {words.config.labels.release}, episode"
    return kit.table(
        Ask(
            10,
            "Which generation came back under its old name?",
            "Generations that became the newest again after another one: an undo, or an old image launched again. Each time counts "
            "as an episode with a start of its own.",
            "This was a rollback, whatever it was called: tell of it by `shipper deploy rollback`, so that it is marked as one.",
            height=6,
        ),
        [kit.now(f"topk({SHOWN}, max by ({by}) ({words.here(names.EPISODE_STARTED, _CAME_BACK)})) * 1000")],
        [
            Column("A", "Since", looks.SINCE, width=130),
            Column(words.config.labels.generation, "Generation"),
            Column(words.config.labels.release, "Release"),
            Column("episode", "Episode", width=90),
        ],
        sort="Since",
        no_value="none",
    )


def keepers(words: Words) -> model.Panel:
    """The gateway that keeps deploys in mind."""
    return kit.table(
        Ask(
            11,
            "Who keeps the deploys in mind?",
            "The gateway that writes the deploy series now: exactly one, whichever of them holds the lease.",
            "None: no gateway, or none with an archive or a metrics destination; then markers come from the deploy log events. Two: "
            "they do not share an archive.",
            height=6,
        ),
        [kit.now(f"topk(5, max by (gateway) ({names.KEEPER_INFO}))")],
        [Column("gateway", "Gateway")],
        no_value="nobody",
    )
